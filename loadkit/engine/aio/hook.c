/* Stands in the import table of a library: of uvloop's libuv to count its calls of epoll_pwait, and to have the
 * kernel's stamp of what it reads; of CPython's _socket for the latter under asyncio.
 *
 * A shared object calls what it imports through a table of pointers (the global offset table), which the dynamic linker
 * fills in from its relocations. dl_iterate_phdr(3) finds the object, its dynamic section (DT_JMPREL, DT_RELA) the
 * relocations, their symbol the entry: we swap the pointer for ours, in this process and for this object alone, with no
 * privilege and no LD_PRELOAD, and put it back when the last thread that counts has ended. See ELF-64 Object File
 * Format and the kernel's and glibc's <elf.h>, <link.h>.
 *
 * Which thread counts, or has stamps, and into which slot of the board, is the thread's own: others pass through.
 */
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../native/stamps.h"

#if defined(__x86_64__)
enum { TO_FUNCTION = R_X86_64_JUMP_SLOT, TO_POINTER = R_X86_64_GLOB_DAT };
#elif defined(__aarch64__)
enum { TO_FUNCTION = R_AARCH64_JUMP_SLOT, TO_POINTER = R_AARCH64_GLOB_DAT };
#else
enum { TO_FUNCTION = -1, TO_POINTER = -1 }; /* no entry is found: counted some other way */
#endif

enum { MOST_ENTRIES = 8 };

struct entry {
    void **at;
    void *was;
    bool is_protected; /* made read-only by the linker after it was filled in (RELRO) */
};

/* A function in place of another, in one library, for as long as a thread needs it. */
struct patch {
    const char *symbol;
    void *ours;
    struct entry entries[MOST_ENTRIES];
    int count, users;
};

/* A worker's slot. */
struct target {
    bool is_on;
    struct board board;
    Py_buffer words;
};

static __thread struct target counted, stamped;
static __thread struct waited last_wait; /* a return_ns of 0: there was none yet */
static __thread int64_t busy_from_ns;    /* how far the time since it returned has been counted */
static __thread struct stamper stamper;
static __thread struct patch *stamped_by;

/* The page of the phase that the worker is in. */
static int64_t *page_now(const struct board *board) {
    return board->first_page + board->state[STATE_phase] * board->page_words;
}

static int counting_epoll_pwait(int fd, struct epoll_event *events, int most, int timeout, const sigset_t *mask) {
    if (!counted.is_on) return epoll_pwait(fd, events, most, timeout, mask);
    int64_t begin = clock_ns();
    int count = epoll_pwait(fd, events, most, timeout, mask);
    int number = errno;
    int64_t end = clock_ns();
    int64_t *page = page_now(&counted.board);
    if (last_wait.return_ns) {
        page[COUNT_busy_ns] += begin - busy_from_ns;
        board_record(&counted.board, page, HISTOGRAM_busy, begin - last_wait.return_ns);
    }
    page[COUNT_blocked_ns] += end - begin;
    count_waits(&counted.board, page, 1, events, count);
    last_wait = (struct waited){begin, end, count};
    busy_from_ns = end;
    errno = number;
    return count;
}

/* Receives with the stamp; -1 and ENOTSOCK for what is none. */
static ssize_t stamping_receive(int fd, void *buffer, size_t most) {
    int64_t begin = clock_ns(), stamp;
    ssize_t length = receive_stamped(fd, buffer, most, &stamp);
    int number = errno;
    if (length > 0) stamper_note(&stamper, &stamped.board, page_now(&stamped.board), begin, stamp);
    errno = number;
    return length;
}

/* libuv reads pipes and eventfds the same way. */
static ssize_t stamping_read(int fd, void *buffer, size_t most) {
    if (!stamped.is_on || !stamper_is_due(&stamper)) return read(fd, buffer, most);
    ssize_t length = stamping_receive(fd, buffer, most);
    return length < 0 && errno == ENOTSOCK ? read(fd, buffer, most) : length;
}

static ssize_t stamping_recv(int fd, void *buffer, size_t most, int flags) {
    if (!stamped.is_on || flags || !stamper_is_due(&stamper)) return recv(fd, buffer, most, flags);
    return stamping_receive(fd, buffer, most);
}

static struct patch waits = {.symbol = "epoll_pwait", .ours = (void *)counting_epoll_pwait};
static struct patch reads = {.symbol = "read", .ours = (void *)stamping_read};
static struct patch receives = {.symbol = "recv", .ours = (void *)stamping_recv};

/* -- the import table */

struct search {
    struct patch *patch;
    const char *library;
    bool is_found;
    int error;
};

/* The linker leaves addresses of the dynamic section absolute (glibc) or relative to where the object is (musl). */
static const void *address(const struct dl_phdr_info *object, ElfW(Addr) pointer) {
    return (const void *)(pointer < object->dlpi_addr ? pointer + object->dlpi_addr : pointer);
}

/* Whether the linker has made an address of a RELRO segment read-only: whole pages of it, from the one that it begins
 * in to the last that it fills (glibc's _dl_protect_relro; musl does the same). Where a page has 64 KiB, its last bytes
 * lie in one that the object goes on to write to: made read-only, that would be its end. */
static bool is_in_relro(uintptr_t begin, uintptr_t bytes, uintptr_t page, uintptr_t at) {
    return at >= (begin & ~(page - 1)) && at < ((begin + bytes) & ~(page - 1));
}

static bool is_read_only(const struct dl_phdr_info *object, const void *at) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        ElfW(Addr) begin = object->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_GNU_RELRO && is_in_relro(begin, part->p_memsz, page, (uintptr_t)at)) return true;
    }
    return false;
}

/* -1 with errno. */
static int put(const struct entry *entry, void *pointer) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)entry->at & ~(page - 1));
    if (entry->is_protected && mprotect(start, page, PROT_READ | PROT_WRITE)) return -1;
    __atomic_store_n(entry->at, pointer, __ATOMIC_SEQ_CST);
    return entry->is_protected ? mprotect(start, page, PROT_READ) : 0;
}

static void take(struct search *search, const struct dl_phdr_info *object, const ElfW(Rela) *relocations, size_t bytes,
                 const ElfW(Sym) *symbols, const char *names) {
    struct patch *patch = search->patch;
    for (size_t i = 0; i < bytes / sizeof *relocations; i++) {
        int kind = (int)ELF64_R_TYPE(relocations[i].r_info);
        if (kind != TO_FUNCTION && kind != TO_POINTER) continue;
        if (strcmp(names + symbols[ELF64_R_SYM(relocations[i].r_info)].st_name, patch->symbol)) continue;
        void **at = (void **)(object->dlpi_addr + relocations[i].r_offset);
        if (*at == patch->ours || patch->count == MOST_ENTRIES) continue;
        struct entry entry = {at, *at, is_read_only(object, at)};
        if (put(&entry, patch->ours)) {
            search->error = errno;
            return;
        }
        patch->entries[patch->count++] = entry;
    }
}

static int look_at(struct dl_phdr_info *object, size_t size, void *argument) {
    (void)size;
    struct search *search = argument;
    if (!object->dlpi_name || strcmp(object->dlpi_name, search->library)) return 0;
    search->is_found = true;
    const ElfW(Dyn) *dynamic = NULL;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
    const ElfW(Rela) *calls = NULL, *others = NULL;
    size_t calls_bytes = 0, others_bytes = 0;
    const ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_JMPREL) calls = address(object, dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_PLTRELSZ) calls_bytes = dynamic->d_un.d_val;
        if (dynamic->d_tag == DT_RELA) others = address(object, dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_RELASZ) others_bytes = dynamic->d_un.d_val;
        if (dynamic->d_tag == DT_SYMTAB) symbols = address(object, dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB) names = address(object, dynamic->d_un.d_ptr);
    }
    if (!symbols || !names) return 1;
    if (calls) take(search, object, calls, calls_bytes, symbols, names);
    if (others && !search->error) take(search, object, others, others_bytes, symbols, names);
    return 1;
}

static int put_back(struct patch *patch) {
    int error = 0;
    while (patch->count) {
        struct entry *entry = &patch->entries[--patch->count];
        /* Somebody who stands there since then keeps calling us, and passes through. */
        if (*entry->at == patch->ours && put(entry, entry->was)) error = errno;
    }
    return error;
}

/* -- for Python; the interpreter's lock guards what is not a thread's own */

/* One more thread needs the patch: the first puts it in. -1 with a Python error. */
static int use(struct patch *patch, const char *library) {
    struct search search = {.patch = patch, .library = library};
    if (!patch->users) {
        dl_iterate_phdr(look_at, &search);
        if (!patch->count || search.error) {
            put_back(patch);
            if (search.error)
                PyErr_Format(PyExc_OSError, "its import table cannot be written: %s", strerror(search.error));
            else
                PyErr_Format(PyExc_OSError, search.is_found ? "%s imports no %s" : "%s is not loaded (%s)", library,
                             patch->symbol);
            return -1;
        }
    }
    patch->users++;
    return 0;
}

/* The last one takes it out. -1 with a Python error. */
static int leave(struct patch *patch) {
    int error = --patch->users ? 0 : put_back(patch);
    if (error) PyErr_Format(PyExc_OSError, "its import table cannot be restored: %s", strerror(error));
    return error ? -1 : 0;
}

/* This thread writes to that slot from now on. -1 with a Python error, and then the words are released. */
static int aim(struct target *target, Py_buffer *words, int phases, struct patch *patch, const char *library) {
    if (target->is_on) {
        PyErr_SetString(PyExc_RuntimeError, "this thread does that already");
    } else if (board_open(&target->board, words->buf, words->len / 8, phases)) {
        PyErr_SetFromErrno(PyExc_OSError);
    } else if (use(patch, library)) {
        board_close(&target->board);
    } else {
        target->words = *words;
        target->is_on = true;
        return 0;
    }
    PyBuffer_Release(words);
    return -1;
}

static int rest(struct target *target, struct patch *patch) {
    if (!target->is_on) return 0;
    target->is_on = false;
    board_close(&target->board);
    PyBuffer_Release(&target->words);
    return leave(patch);
}

static PyObject *begin(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer words;
    int phases;
    const char *library;
    if (!PyArg_ParseTuple(args, "w*is:begin", &words, &phases, &library)) return NULL;
    if (aim(&counted, &words, phases, &waits, library)) return NULL;
    last_wait = (struct waited){0, 0, 0};
    Py_RETURN_NONE;
}

static PyObject *end(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    if (rest(&counted, &waits)) return NULL;
    Py_RETURN_NONE;
}

/* Counts how long this thread has been busy up to now: what comes after may be another phase's. */
static PyObject *settle(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    if (counted.is_on && last_wait.return_ns) {
        int64_t now = clock_ns();
        page_now(&counted.board)[COUNT_busy_ns] += now - busy_from_ns;
        busy_from_ns = now;
    }
    Py_RETURN_NONE;
}

static PyObject *begin_stamps(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer words;
    int phases, by_recv;
    const char *library;
    if (!PyArg_ParseTuple(args, "w*isp:begin_stamps", &words, &phases, &library, &by_recv)) return NULL;
    struct patch *patch = by_recv ? &receives : &reads;
    if (aim(&stamped, &words, phases, patch, library)) return NULL;
    stamped_by = patch;
    stamper_open(&stamper, true);
    Py_RETURN_NONE;
}

static PyObject *end_stamps(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    if (rest(&stamped, stamped_by)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *last(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    return Py_BuildValue("LLi", (long long)last_wait.call_ns, (long long)last_wait.return_ns, last_wait.count);
}

static PyObject *in_relro(PyObject *module, PyObject *args) {
    (void)module;
    unsigned long long begin, bytes, page, at;
    if (!PyArg_ParseTuple(args, "KKKK:in_relro", &begin, &bytes, &page, &at)) return NULL;
    return PyBool_FromLong(is_in_relro((uintptr_t)begin, (uintptr_t)bytes, (uintptr_t)page, (uintptr_t)at));
}

static PyMethodDef methods[] = {
    {"begin", begin, METH_VARARGS,
     "Counts this thread's calls through a library (its path), into the words of a slot."},
    {"end", end, METH_NOARGS, "Ends that; the last thread's end puts the import table back."},
    {"settle", settle, METH_NOARGS, "Counts this thread's busy time up to now, into the phase that it is in."},
    {"last", last, METH_NOARGS,
     "This thread's last call: when it was made, when it returned (monotonic ns), its events."},
    {"begin_stamps", begin_stamps, METH_VARARGS,
     "Notes how long what this thread reads through a library (its path; by recv, or by read) lay unread, into a "
     "slot."},
    {"end_stamps", end_stamps, METH_NOARGS, "Ends that."},
    {"in_relro", in_relro, METH_VARARGS,
     "Whether the linker makes an address read-only: of a RELRO segment its begin and bytes, the size of a page, the "
     "address."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_hook", .m_size = 0, .m_methods = methods};

/* A forked process has the board too: what it does is not its parent's. */
static void forget(void) { counted.is_on = stamped.is_on = false; }

PyMODINIT_FUNC PyInit__hook(void) {
    int error = pthread_atfork(NULL, NULL, forget);
    if (error) return PyErr_Format(PyExc_ImportError, "pthread_atfork: %s", strerror(error));
    return PyModule_Create(&definition);
}
