/* Counts the calls of epoll_pwait that a library makes, uvloop's libuv, by standing in its import table.
 *
 * A shared object calls what it imports through a table of pointers (the global offset table), which the dynamic linker
 * fills in from its relocations. dl_iterate_phdr(3) finds the object, its dynamic section (DT_JMPREL, DT_RELA) the
 * relocations, their symbol the entry: we swap the pointer for ours, in this process and for this object alone, with no
 * privilege and no LD_PRELOAD, and put it back when the last thread that counts has ended. See ELF-64 Object File Format
 * and the kernel's and glibc's <elf.h>, <link.h>.
 *
 * Which thread counts, and into which slot of the board, is the thread's own: others pass through.
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

#include "../native/counting.h"

#if defined(__x86_64__)
enum { TO_FUNCTION = R_X86_64_JUMP_SLOT, TO_POINTER = R_X86_64_GLOB_DAT };
#elif defined(__aarch64__)
enum { TO_FUNCTION = R_AARCH64_JUMP_SLOT, TO_POINTER = R_AARCH64_GLOB_DAT };
#else
enum { TO_FUNCTION = -1, TO_POINTER = -1 }; /* no entry is found: counted some other way */
#endif

enum { MOST_ENTRIES = 8 };

static const char SYMBOL[] = "epoll_pwait";

struct entry {
    void **at;
    void *was;
    bool is_protected; /* made read-only by the linker after it was filled in (RELRO) */
};

static struct entry entries[MOST_ENTRIES];
static int entry_count, users;

struct counter {
    bool is_on;
    struct board board;
    Py_buffer words;
    struct waited last; /* a return_ns of 0: there was none yet */
};

static __thread struct counter counter;

/* The page of the phase that the worker is in. */
static int64_t *page_now(const struct board *board) {
    return board->first_page + board->state[STATE_phase] * board->page_words;
}

static int counting_epoll_pwait(int fd, struct epoll_event *events, int most, int timeout, const sigset_t *mask) {
    if (!counter.is_on) return epoll_pwait(fd, events, most, timeout, mask);
    int64_t begin = clock_ns();
    int count = epoll_pwait(fd, events, most, timeout, mask);
    int number = errno;
    int64_t end = clock_ns();
    int64_t *page = page_now(&counter.board);
    if (counter.last.return_ns) count_busy(&counter.board, page, begin - counter.last.return_ns);
    count_waits(&counter.board, page, begin, end, 1, events, count);
    counter.last = (struct waited){begin, end, count};
    errno = number;
    return count;
}

/* -- the import table */

struct search {
    const char *library;
    bool is_found;
    int error;
};

/* The linker leaves addresses of the dynamic section absolute (glibc) or relative to where the object is (musl). */
static const void *address(const struct dl_phdr_info *object, ElfW(Addr) pointer) {
    return (const void *)(pointer < object->dlpi_addr ? pointer + object->dlpi_addr : pointer);
}

static bool is_read_only(const struct dl_phdr_info *object, const void *at) {
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        ElfW(Addr) begin = object->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_GNU_RELRO && (ElfW(Addr))at >= begin && (ElfW(Addr))at < begin + part->p_memsz) return true;
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
    for (size_t i = 0; i < bytes / sizeof *relocations; i++) {
        int kind = (int)ELF64_R_TYPE(relocations[i].r_info);
        if (kind != TO_FUNCTION && kind != TO_POINTER) continue;
        if (strcmp(names + symbols[ELF64_R_SYM(relocations[i].r_info)].st_name, SYMBOL)) continue;
        void **at = (void **)(object->dlpi_addr + relocations[i].r_offset);
        if (*at == (void *)counting_epoll_pwait || entry_count == MOST_ENTRIES) continue;
        struct entry entry = {at, *at, is_read_only(object, at)};
        if (put(&entry, (void *)counting_epoll_pwait)) {
            search->error = errno;
            return;
        }
        entries[entry_count++] = entry;
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

static int put_back(void) {
    int error = 0;
    while (entry_count) {
        struct entry *entry = &entries[--entry_count];
        /* Somebody who stands there since then keeps calling us, and passes through. */
        if (*entry->at == (void *)counting_epoll_pwait && put(entry, entry->was)) error = errno;
    }
    return error;
}

/* -- for Python; the interpreter's lock guards what is not a thread's own */

static PyObject *begin(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer words;
    int phases;
    struct search search = {0};
    if (!PyArg_ParseTuple(args, "w*is:begin", &words, &phases, &search.library)) return NULL;
    if (counter.is_on) {
        PyBuffer_Release(&words);
        PyErr_SetString(PyExc_RuntimeError, "this thread counts already");
        return NULL;
    }
    if (!users) {
        dl_iterate_phdr(look_at, &search);
        if (!entry_count || search.error) {
            put_back();
            PyBuffer_Release(&words);
            if (search.error)
                PyErr_Format(PyExc_OSError, "its import table cannot be written: %s", strerror(search.error));
            else
                PyErr_Format(PyExc_OSError, search.is_found ? "%s imports no %s" : "%s is not loaded (%s)", search.library,
                             SYMBOL);
            return NULL;
        }
    }
    if (board_open(&counter.board, words.buf, words.len / 8, phases)) {
        if (!users) put_back();
        PyBuffer_Release(&words);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    counter.words = words;
    counter.last = (struct waited){0, 0, 0};
    counter.is_on = true;
    users++;
    Py_RETURN_NONE;
}

static PyObject *end(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    if (counter.is_on) {
        counter.is_on = false;
        board_close(&counter.board);
        PyBuffer_Release(&counter.words);
        if (!--users) {
            int error = put_back();
            if (error) return PyErr_Format(PyExc_OSError, "its import table cannot be restored: %s", strerror(error));
        }
    }
    Py_RETURN_NONE;
}

static PyObject *last(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    return Py_BuildValue("LLi", (long long)counter.last.call_ns, (long long)counter.last.return_ns, counter.last.count);
}

static PyMethodDef methods[] = {
    {"begin", begin, METH_VARARGS, "Counts this thread's calls through a library (its path), into the words of a slot."},
    {"end", end, METH_NOARGS, "Ends that; the last thread's end puts the import table back."},
    {"last", last, METH_NOARGS, "This thread's last call: when it was made, when it returned (monotonic ns), its events."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_hook", .m_size = 0, .m_methods = methods};

/* A forked process has the board too: what it does is not its parent's. */
static void forget(void) { counter.is_on = false; }

PyMODINIT_FUNC PyInit__hook(void) {
    int error = pthread_atfork(NULL, NULL, forget);
    if (error) return PyErr_Format(PyExc_ImportError, "pthread_atfork: %s", strerror(error));
    return PyModule_Create(&definition);
}
