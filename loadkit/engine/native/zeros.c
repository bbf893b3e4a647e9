/* Pages that hold nothing but zeros, given back to the kernel, which hands out zeros again when they are touched. */
#include "zeros.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool is_zero(const char *page, size_t size) { return !page[0] && !memcmp(page, page + 1, size - 1); }

size_t give_back_zeros(const void *memory, size_t length) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), given = 0;
    uintptr_t begin = ((uintptr_t)memory + page - 1) / page * page, end = ((uintptr_t)memory + length) / page * page;
    for (uintptr_t at = begin; at < end; at += page)
        if (is_zero((const char *)at, page) && !madvise((void *)at, page, MADV_DONTNEED)) given += page;
    return given;
}
