/* What a worker's turns have in common at both ends. */
#ifndef LOADKIT_TURNS_H
#define LOADKIT_TURNS_H

#include <stdint.h>

/* The number of no slot. */
#define NONE UINT32_MAX
/* Why a turn came back to Python. */
enum { TURN_HEARD = 1, TURN_PHASE = 2, TURN_DONE = 4 };

#endif
