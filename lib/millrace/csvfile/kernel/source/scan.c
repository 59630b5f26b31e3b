/* A byte range of a file, read from every state in which the parser may enter it.

   The states are those of CPython's csv reader (Modules/_csv.c), which reads the chunks; csvfile/scan.py has
   them in Python, names them, and says what the numbers mean. */

#include "csv.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { RECORD, FIELD, TEXT, QUOTED, QUOTE, ESCAPE, QUOTED_ESCAPE, ESCAPED_END };

enum { BLOCK = 1 << 16, FIRST_BLOCK = 1 << 8 };

/* The first place in [pos, to) of any of four bytes; `to` where there is none. */
static inline int64_t next_of(const uint8_t *data, int64_t pos, int64_t to, const uint8_t *bytes)
{
#ifdef __SSE2__
    const __m128i a = _mm_set1_epi8((char)bytes[0]), b = _mm_set1_epi8((char)bytes[1]);
    const __m128i c = _mm_set1_epi8((char)bytes[2]), d = _mm_set1_epi8((char)bytes[3]);
    for (; pos + 16 <= to; pos += 16) {
        __m128i word = _mm_loadu_si128((const __m128i *)(data + pos));
        __m128i found = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(word, a), _mm_cmpeq_epi8(word, b)),
                                     _mm_or_si128(_mm_cmpeq_epi8(word, c), _mm_cmpeq_epi8(word, d)));
        int mask = _mm_movemask_epi8(found);
        if (mask) return pos + __builtin_ctz((unsigned)mask);
    }
#endif
    for (; pos < to; pos++) {
        uint8_t byte = data[pos];
        if (byte == bytes[0] || byte == bytes[1] || byte == bytes[2] || byte == bytes[3]) break;
    }
    return pos;
}

/* One state's way through a part of the range. */
typedef struct {
    int64_t state, records, first, last;
} part;

static inline void boundary(part *way, int64_t at)
{
    if (way->first < 0) way->first = at;
    way->last = at;
}

static void step(const uint8_t *data, int64_t size, int64_t from, int64_t to, const csv_dialect *dialect,
                 part *way)
{
    const int32_t quote = dialect->quote, escape = dialect->escape, delimiter = dialect->delimiter;
    const uint8_t outside[4] = {'\n', '\r', (uint8_t)(quote < 0 ? '\n' : quote),
                                (uint8_t)(escape < 0 ? '\n' : escape)};
    const uint8_t inside[4] = {(uint8_t)quote, (uint8_t)(escape < 0 ? quote : escape), (uint8_t)quote,
                               (uint8_t)quote};
    int64_t pos = from, at;
    int64_t start = from;   /* of the record, while nothing of it was read */
    int64_t fresh = -1;     /* where a field begins, beside behind a delimiter */
    int64_t literal = -1;   /* the last byte that an escape made text */
    const int64_t none = from - 2;
    int64_t line_end = none; /* the last line end that an escape made text, while its field goes on */
    int begun = way->state != RECORD;

/* Whether a field begins at a place of the part, and nothing of it was read. */
#define BEGINS(place, result)                                                                  \
    do {                                                                                       \
        int64_t back = (place);                                                                \
        if (dialect->skip_space)                                                               \
            while (back > from && back != fresh && data[back - 1] == ' ' && back - 1 != literal) back--; \
        result = back == fresh || (back < (place) && delimiter == ' ')                         \
                 || (back > from && data[back - 1] == delimiter && back - 1 != literal);       \
    } while (0)

    switch (way->state) {
    case RECORD:
        fresh = from;
        /* Between CR and LF nothing begins. */
        if (!(from > 0 && data[from - 1] == '\r' && data[from] == '\n')) boundary(way, from);
        break;
    case FIELD:
        fresh = from;
        break;
    case ESCAPED_END:
        line_end = from - 1;
        break;
    case QUOTED:
        goto quoted;
    case QUOTE:
        goto behind_quote;
    case ESCAPE:
        goto escaped;
    case QUOTED_ESCAPE:
        pos++;
        goto quoted;
    }
unquoted:
    for (;;) {
        int field;
        at = next_of(data, pos, to, outside);
        if (!begun && at > start) begun = 1, way->records++;
        if (at == to) {
            BEGINS(to, field);
            if (line_end != none && memchr(data + line_end + 1, delimiter, (size_t)(to - line_end - 1)))
                line_end = none;
            way->state = !begun ? RECORD : field ? FIELD : line_end != none ? ESCAPED_END : TEXT;
            return;
        }
        pos = at + 1;
        if (data[at] == '\r' && pos < size && data[pos] == '\n') {
            if (!begun) start = pos;
        } else if (data[at] == '\n' || data[at] == '\r') {
            if (!begun && dialect->blank_lines) way->records++;
            begun = 0;
            line_end = none;
            start = fresh = pos;
            boundary(way, pos);
        } else {
            if (!begun) begun = 1, way->records++;
            if (data[at] == quote) {
                BEGINS(at, field);
                if (field) goto quoted;
            } else {
                goto escaped;
            }
        }
    }
escaped:
    if (pos == to) {
        way->state = ESCAPE;
        return;
    }
    literal = pos++;
    line_end = data[literal] == '\n' || data[literal] == '\r' ? literal : none;
    goto unquoted;
quoted:
    line_end = none;
    for (;;) {
        at = next_of(data, pos, to, inside);
        if (at >= to) {
            way->state = QUOTED;
            return;
        }
        pos = at + 1;
        if (data[at] == quote) break;
        if (pos == to) {
            way->state = QUOTED_ESCAPE;
            return;
        }
        pos++;
    }
behind_quote:
    if (pos == to) {
        way->state = QUOTE;
        return;
    }
    if (data[pos] == quote) {
        pos++;
        goto quoted;
    }
    if (data[pos] == escape) literal = pos++;
    goto unquoted;
#undef BEGINS
}

void csv_scan(const uint8_t *data, int64_t size, int64_t from, int64_t to, const csv_dialect *dialect,
              csv_way *ways, int32_t count)
{
    int32_t follows[CSV_STATES];
    part parts[CSV_STATES];
    int64_t longest = dialect->limit < BLOCK ? dialect->limit : BLOCK;
    int64_t block = FIRST_BLOCK < longest ? FIRST_BLOCK : longest, next;
    if (block < 1) block = longest = 1;
    for (int32_t i = 0; i < count; i++) {
        follows[i] = i;
        ways[i].records = 0;
        ways[i].first = ways[i].last = ways[i].overlong = -1;
    }
    /* Ways that reach the same state go on as one; most do within a few records. */
    for (int64_t at = from; at < to; at = next) {
        next = at + block < to ? at + block : to;
        block = block * 4 < longest ? block * 4 : longest;
        for (int32_t i = 0; i < count; i++) {
            part *way = &parts[follows[i]];
            if (follows[i] == i) {
                *way = (part){ways[i].state, 0, -1, -1};
                step(data, size, at, next, dialect, way);
            }
            ways[i].state = way->state;
            ways[i].records += way->records;
            if (way->first < 0) continue;
            if (ways[i].first < 0) ways[i].first = way->first;
            if (ways[i].last >= 0 && ways[i].overlong < 0 && way->first - ways[i].last > dialect->limit)
                ways[i].overlong = ways[i].last;
            ways[i].last = way->last;
        }
        for (int32_t i = 1; i < count; i++)
            for (int32_t j = 0; j < i; j++)
                if (follows[j] == j && ways[j].state == ways[i].state) {
                    follows[i] = j;
                    break;
                }
    }
}

int64_t csv_lines(const uint8_t *data, int64_t size, int64_t from, int64_t to)
{
    int64_t lines = 0, at = from, inner = to < size ? to : size - 1;
#ifdef __SSE2__
    const __m128i feed = _mm_set1_epi8('\n'), back = _mm_set1_epi8('\r');
    while (at + 16 <= inner) {
        __m128i sums = _mm_setzero_si128(); /* 16 counts of at most 255 */
        int64_t stop = at + 255 * 16 < inner ? at + 255 * 16 : inner;
        for (; at + 16 <= stop; at += 16) {
            __m128i here = _mm_loadu_si128((const __m128i *)(data + at));
            __m128i next = _mm_loadu_si128((const __m128i *)(data + at + 1));
            __m128i lone = _mm_andnot_si128(_mm_cmpeq_epi8(next, feed), _mm_cmpeq_epi8(here, back));
            sums = _mm_sub_epi8(sums, _mm_or_si128(_mm_cmpeq_epi8(here, feed), lone));
        }
        sums = _mm_sad_epu8(sums, _mm_setzero_si128());
        lines += _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4);
    }
#endif
    for (; at < inner; at++) lines += (data[at] == '\n') | ((data[at] == '\r') & (data[at + 1] != '\n'));
    for (; at < to; at++) lines += data[at] == '\n' || data[at] == '\r';
    return lines;
}

/* Bytes of the valid character that begins here (Unicode, table 3-7); 0 where none does. */
static inline int character(const uint8_t *data, int64_t left)
{
    uint8_t lead = data[0];
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4 || left < 2) return 0;
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (left < length || data[1] < low || data[1] > high) return 0;
    for (int i = 2; i < length; i++)
        if ((data[i] & 0xC0) != 0x80) return 0;
    return length;
}

void csv_weigh(const uint8_t *data, int64_t size, int64_t from, int64_t to, const uint8_t *kinds,
               csv_tally *tally)
{
    *tally = (csv_tally){.first_invalid = -1};
    int64_t at = from;
    for (int64_t back = 1; back <= 3 && back <= from; back++) {
        int length = character(data + from - back, size - from + back);
        if (length > back) at = from - back + length;
    }
    int64_t known = at; /* up to here the characters are counted */
    for (at = from; at < to;) {
        uint64_t word;
        if (at + 8 <= to) {
            memcpy(&word, data + at, 8);
            word &= 0x8080808080808080u;
            at += word ? __builtin_ctzll(word) / 8 : 8;
            if (!word) continue;
        }
        if (data[at] < 0x80) {
            at++;
            continue;
        }
        int64_t bytes = 1;
        int length = at < known ? 0 : character(data + at, size - at);
        if (length) {
            tally->valid++;
            known = at + length;
            bytes = known < to ? length : to - at;
        } else if (at >= known) {
            tally->invalid++;
            if (tally->first_invalid < 0) tally->first_invalid = at;
        }
        tally->high += bytes;
        if (length || (at > 0 && data[at - 1] >= 0x80) || (at + 1 < size && data[at + 1] >= 0x80))
            tally->in_runs += bytes;
        for (; bytes; bytes--, at++) {
            tally->rare += kinds[data[at]] & 1;
            tally->damage += kinds[data[at]] >> 1;
        }
    }
}
