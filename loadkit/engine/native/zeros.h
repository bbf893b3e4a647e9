#ifndef LOADKIT_ZEROS_H
#define LOADKIT_ZEROS_H

#include <stdbool.h>
#include <stddef.h>

/* Gives back the whole pages within this private anonymous memory, as malloc's is, that hold nothing but zeros; returns
 * how many bytes. What is read there stays the same: madvise(2), MADV_DONTNEED. */
size_t give_back_zeros(const void *memory, size_t length);

#endif
