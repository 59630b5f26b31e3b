/* What the C part of reading CSV offers to Python. */

#ifndef MILLRACE_CSV_H
#define MILLRACE_CSV_H

#include <stdint.h>

#define CSV_ABI 1

int32_t csv_abi(void);

/* The hash of a value: 64 bits, the same on every machine; profile/statistics.py has it in Python. */
uint64_t csv_hash(const uint8_t *text, int64_t size);

#endif
