/* Records: the state machine of Python's csv module, which csvfile/records.py reads with, over a whole chunk.

   Most records have no quote, or fields that are quoted as RFC 4180 has it: those are cut at the special bytes
   alone, which are found 64 bytes at a time. All others are read byte by byte. */

#include "csv.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

struct cursor {
    const uint8_t *data;
    int64_t size, base;
    uint64_t mask;
    uint8_t marks[5];
};

static uint64_t mask_of(const struct cursor *c, const uint8_t *at)
{
    uint64_t mask = 0;
#if defined(__SSE2__)
    for (int part = 0; part < 4; part++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(at + 16 * part));
        __m128i found = _mm_setzero_si128();
        for (int mark = 0; mark < 5; mark++)
            found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8((char)c->marks[mark])));
        mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(found) << (16 * part);
    }
#else
    for (int i = 0; i < 64; i++) {
        int found = 0;
        for (int mark = 0; mark < 5; mark++) found |= at[i] == c->marks[mark];
        mask |= (uint64_t)found << i;
    }
#endif
    return mask;
}

static void load(struct cursor *c)
{
    if (c->base + 64 <= c->size) {
        c->mask = mask_of(c, c->data + c->base);
        return;
    }
    uint8_t last[64] = {0};
    int64_t rest = c->size - c->base;
    if (rest > 0) memcpy(last, c->data + c->base, (size_t)rest);
    c->mask = mask_of(c, last);
    c->mask &= rest > 0 ? ~0ull >> (64 - rest) : 0;
}

static void seek(struct cursor *c, int64_t at)
{
    c->base = at & ~63ll;
    load(c);
    c->mask &= ~0ull << (at & 63);
}

/* Return the place of the next special byte, the data's size if there is none, and step over it. */
static inline int64_t next(struct cursor *c)
{
    while (!c->mask) {
        if (c->base + 64 >= c->size) return c->size;
        c->base += 64;
        load(c);
    }
    int64_t at = c->base + __builtin_ctzll(c->mask);
    c->mask &= c->mask - 1;
    return at;
}

enum outcome { BLANK, ROW, RAGGED, STRANGE, OPEN };

struct record {
    int64_t end, lines, fields;
};

/* Read a record of quoted and unquoted fields; STRANGE where that is not certain to be all it is. */
static enum outcome read_plain(struct chunk *chunk, struct cursor *c, int64_t at, struct span *cells,
                               struct record *record)
{
    const uint8_t *data = chunk->data;
    const int64_t size = chunk->size, width = chunk->width;
    const int delimiter = chunk->delimiter, quote = chunk->quote ? chunk->quote : -1;
    const int escape = chunk->escape ? chunk->escape : -1;
    int64_t start = at, fields = 0, doubled_fields = 0;
    record->lines = 0;
    for (;;) {
        int64_t from = start, stop = next(c), doubled = 0;
        int mark = stop < size ? data[stop] : '\n';
        if (mark == quote && stop == start && stop < size) {
            from = start + 1;
            for (;;) {
                stop = next(c);
                if (stop >= size) return STRANGE;
                mark = data[stop];
                if (mark == escape) return STRANGE;
                if (mark == '\n' || (mark == '\r' && (stop + 1 == size || data[stop + 1] != '\n')))
                    record->lines++;
                if (mark != quote) continue;
                if (stop + 1 < size && data[stop + 1] == quote) {
                    next(c);
                    doubled = 1;
                    continue;
                }
                break;
            }
            int64_t after = stop + 1;
            mark = after < size ? data[after] : '\n';
            if (mark != delimiter && mark != '\n' && mark != '\r') return STRANGE;
            if (fields < width) cells[fields] = (struct span){(uint32_t)from, (uint32_t)(stop - from)};
            if (doubled && fields < width) {
                cells[fields].size |= 1u << 31;
                doubled_fields = 1;
            }
            if (after < size) next(c);
            stop = after;
        } else {
            while (mark == quote) { /* a quote inside a field is a byte like any other */
                stop = next(c);
                mark = stop < size ? data[stop] : '\n';
            }
            if (mark == escape && stop < size) return STRANGE;
            if (fields == 0 && stop == start && mark != delimiter) {
                record->end = stop + 1;
                if (mark == '\r' && stop + 1 < size && data[stop + 1] == '\n') {
                    next(c);
                    record->end++;
                }
                record->lines = 1;
                return BLANK;
            }
            if (fields < width) cells[fields] = (struct span){(uint32_t)from, (uint32_t)(stop - from)};
        }
        fields++;
        start = stop + 1;
        if (mark == delimiter) continue;
        if (mark == '\r' && start < size && data[start] == '\n') {
            next(c);
            start++;
        }
        break;
    }
    record->lines++;
    record->end = start < size ? start : size;
    record->fields = fields;
    if (fields != width) return RAGGED;
    if (doubled_fields)
        for (int64_t i = 0; i < fields; i++) {
            if (!(cells[i].size >> 31)) continue;
            uint8_t *text = chunk->data + cells[i].start, *to = text;
            const uint8_t *end = text + (cells[i].size & ~(1u << 31));
            for (const uint8_t *from = text; from < end; from++) {
                *to++ = *from;
                if (*from == quote) from++;
            }
            cells[i].size = (uint32_t)(to - text);
        }
    return ROW;
}

/* Read any record byte by byte, its texts written over its bytes; OPEN where the data end before it does. */
static enum outcome read_strange(struct chunk *chunk, int64_t at, struct span *cells, struct record *record)
{
    enum { FIELD_START, ESCAPED, AFTER_ESCAPED_END, IN_FIELD, QUOTED, ESCAPED_QUOTED, QUOTE, ENDING, ENDED };
    uint8_t *data = chunk->data;
    const int delimiter = chunk->delimiter, quote = chunk->quote ? chunk->quote : -2;
    const int escape = chunk->escape ? chunk->escape : -2;
    int64_t to = at, field = at, fields = 0, from = at;
    int state = FIELD_START;
    record->lines = 0;
#define ADD(byte) (data[to++] = (uint8_t)(byte))
#define SAVE                                                                                                \
    do {                                                                                                    \
        if (fields < chunk->width) cells[fields] = (struct span){(uint32_t)field, (uint32_t)(to - field)};  \
        fields++;                                                                                           \
        field = to;                                                                                         \
    } while (0)
    while (state != ENDED) {
        int last = from >= chunk->size, line_ends = last;
        int byte = last ? -1 : data[from++];
        if (byte == '\n' || (byte == '\r' && (from == chunk->size || data[from] != '\n'))) {
            line_ends = 1;
            record->lines++;
        }
        /* The byte, and then, where a line ends, its end: -1. */
        for (int step = byte < 0; step < 1 + line_ends; step++) {
            int b = step ? -1 : byte, end = b == '\n' || b == '\r' || b < 0;
            switch (state) {
            case FIELD_START:
                if (end) {
                    SAVE;
                    state = b < 0 ? ENDED : ENDING;
                } else if (b == quote) state = QUOTED;
                else if (b == escape) state = ESCAPED;
                else if (b == delimiter) SAVE;
                else {
                    ADD(b);
                    state = IN_FIELD;
                }
                break;
            case ESCAPED:
                if (b < 0) return OPEN;
                ADD(b);
                state = b == '\n' || b == '\r' ? AFTER_ESCAPED_END : IN_FIELD;
                break;
            case AFTER_ESCAPED_END:
                if (b < 0) break;
                /* fall through */
            case IN_FIELD:
                if (end) {
                    SAVE;
                    state = b < 0 ? ENDED : ENDING;
                } else if (b == escape) state = ESCAPED;
                else if (b == delimiter) {
                    SAVE;
                    state = FIELD_START;
                } else {
                    ADD(b);
                    state = IN_FIELD;
                }
                break;
            case QUOTED:
                if (b < 0) break;
                if (b == escape) state = ESCAPED_QUOTED;
                else if (b == quote) state = QUOTE;
                else ADD(b);
                break;
            case ESCAPED_QUOTED:
                if (b < 0) return OPEN;
                ADD(b);
                state = QUOTED;
                break;
            case QUOTE:
                if (b == quote) {
                    ADD(b);
                    state = QUOTED;
                } else if (b == delimiter) {
                    SAVE;
                    state = FIELD_START;
                } else if (end) {
                    SAVE;
                    state = b < 0 ? ENDED : ENDING;
                } else {
                    ADD(b);
                    state = IN_FIELD;
                }
                break;
            case ENDING:
                if (b < 0) state = ENDED;
                break;
            }
        }
        if (last && state != ENDED) return OPEN;
    }
#undef ADD
#undef SAVE
    record->end = from;
    record->fields = fields;
    return fields == chunk->width ? ROW : RAGGED;
}

int32_t csv_run(struct chunk *chunk, struct job *jobs, int64_t count)
{
    const int64_t width = chunk->width;
    int64_t tile = 24576 / width;
    tile = tile < 8 ? 8 : tile > 2048 ? 2048 : tile;
    struct span *cells = malloc((size_t)(tile * width) * sizeof *cells);
    if (!cells) return NO_MEMORY;
    struct cursor cursor = {.data = chunk->data, .size = chunk->size};
    uint8_t delimiter = (uint8_t)chunk->delimiter;
    cursor.marks[0] = '\n', cursor.marks[1] = '\r', cursor.marks[2] = delimiter;
    cursor.marks[3] = chunk->quote ? (uint8_t)chunk->quote : delimiter;
    cursor.marks[4] = chunk->escape ? (uint8_t)chunk->escape : delimiter;
    seek(&cursor, 0);
    int64_t at = 0, line = 0, filled = 0, first = 0;
    int32_t state = FINISHED;
    chunk->rows = chunk->records = 0;
    while (state == FINISHED) {
        if (filled == tile || (at >= chunk->size && filled)) {
            for (int64_t j = 0; j < count && state == FINISHED; j++)
                state = csv_tile(chunk, jobs + j, cells + jobs[j].column, first, filled);
            first += filled;
            filled = 0;
            continue;
        }
        if (at >= chunk->size) break;
        struct span *row = cells + filled * width;
        struct record record;
        enum outcome outcome = read_plain(chunk, &cursor, at, row, &record);
        if (outcome == STRANGE) {
            outcome = read_strange(chunk, at, row, &record);
            if (outcome == OPEN) {
                state = UNSURE;
                break;
            }
            seek(&cursor, record.end);
        }
        if (record.end - at > chunk->longest) {
            state = UNSURE;
            break;
        }
        if (!chunk->ascii && outcome == ROW)
            for (int64_t i = 0; i < width && outcome == ROW; i++)
                if (!csv_is_utf8(chunk->data + row[i].start, row[i].size)) outcome = RAGGED;
        if (outcome == ROW) {
            if (chunk->rows == chunk->room) {
                state = UNSURE;
                break;
            }
            chunk->offsets[chunk->rows] = (uint32_t)at;
            chunk->ends[chunk->rows] = (uint32_t)record.end;
            chunk->lines[chunk->rows] = (int32_t)line;
            chunk->numbers[chunk->rows++] = (int32_t)chunk->records++;
            filled++;
        } else if (outcome == RAGGED) {
            if (csv_append(&chunk->irregular, at) || csv_append(&chunk->irregular, record.end) ||
                csv_append(&chunk->irregular, line) || csv_append(&chunk->irregular, chunk->records++))
                state = NO_MEMORY;
        }
        line += record.lines;
        at = record.end;
    }
    free(cells);
    for (int64_t j = 0; j < count && state == FINISHED; j++) state = csv_finish(jobs + j);
    return state;
}

int64_t csv_line_ends(const uint8_t *data, int64_t size)
{
    int64_t count = 0;
    for (int64_t start = 0; start < size; start += 65536) {
        int64_t end = start + 65536 < size ? start + 65536 : size;
        uint32_t part = 0;
        for (int64_t i = start; i < end; i++) part += data[i] == '\n' || data[i] == '\r';
        count += part;
    }
    return count;
}
