/* Cells: what their bytes are. */

#include "csv.h"

#include <string.h>

int32_t csv_abi(void)
{
    return CSV_ABI;
}

/* Multiply and fold word by word, then the finaliser of MurmurHash3 (A. Appleby, public domain). */
static inline uint64_t hash_of(const uint8_t *text, int64_t size)
{
    uint64_t hash = (uint64_t)size * 0x9E3779B97F4A7C15u, word;
    for (; size >= 8; text += 8, size -= 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    word = 0;
    for (int64_t i = 0; i < size; i++) word |= (uint64_t)text[i] << (8 * i);
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDu;
    hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53u;
    return hash ^ (hash >> 33);
}

uint64_t csv_hash(const uint8_t *text, int64_t size)
{
    return hash_of(text, size);
}
