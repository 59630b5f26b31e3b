/* The C part of reading CSV: a chunk's records are cut into cells, tile by tile, and each job takes its
   column's cells of the tile. What a cell means is decided in Python (millrace.values); here is only what is
   certain: a plain number, an ISO time, a text that was seen before. Every other text is handed out, once
   for each different one.

   Python makes the structures (csvfile/kernel/__init__.py has their twins) and calls csv_done when it has
   read what the jobs hold. */

#ifndef MILLRACE_CSV_H
#define MILLRACE_CSV_H

#include <stdint.h>

#define CSV_ABI 6

struct span {
    uint32_t start, size;
};

/* A text and how often it came. */
struct entry {
    const uint8_t *text;
    uint64_t hash;
    int64_t count;
    int64_t size;
};

/* Different texts in the order of their first coming. */
struct texts {
    struct entry *entries;
    int32_t *slots; /* number of an entry, -1 where free */
    int64_t count, room, slot_mask;
};

/* A growing list of whole numbers. */
struct list {
    int64_t *items;
    int64_t count, room;
};

/* Numbers that were seen: exact sums of mantissas by exponent, as 128-bit whole numbers. */
struct evidence {
    int64_t count, too_large;
    double minimum, maximum;
    __int128 *sums; /* 2048 of them, NULL before the first number */
};

/* What is known of a column's cells; see ColumnProfile in profile/statistics.py. */
struct profile {
    int64_t missing, count, booleans, integers, codes, multiword, tokens, longest;
    int64_t times, example_size;
    int64_t sequential, sequenced, sequence;
    double earliest, latest;
    const uint8_t *example;
    struct evidence dotted, undotted;
    uint64_t *sketch; /* an open table of hashes plus one */
    int64_t sketched;
    uint64_t threshold;
    struct texts distinct; /* while exact */
    struct texts others;   /* for Python to judge */
    int64_t exact, limit, sketch_size, longest_word;
    uint64_t fingerprint; /* sum over the records of what mixes the cell and the record's number */
};

enum { NUMBERS = 1, TIMES = 2, CODES = 3, SPANS = 4, PROFILE = 5 };

/* What to do with the cells of a column.
   NUMBERS: values; point is the decimal point. TIMES: values; format. NaN where blank. What is neither blank
   nor plain is NaN, its row stands in odd_rows and the number of its text in odd_texts.
   CODES: codes, the number of the cell's text; -1 where blank.
   SPANS: starts and sizes of the texts; where blanks are to be told, -1 is a blank one's size.
   PROFILE: what is known of them. */
struct job {
    int32_t column, kind, point, blanks;
    const char *format; /* iso8601, or one of strptime of %Y %m %d %H %M %S with two digits each */
    double *values;
    int32_t *codes;
    uint32_t *starts;
    int32_t *sizes;
    struct texts texts;
    struct list odd_rows, odd_texts;
    struct profile *profile;
};

/* A chunk. */
struct chunk {
    uint8_t *data; /* written to where a quoted or escaped text is shorter than its bytes */
    int64_t size, room, longest, width, first_record;
    int32_t delimiter, quote, escape; /* 0: none */
    int32_t ascii;
    /* Results: for each row its record's first byte, the byte behind it, its line and number, from 0. */
    int64_t rows;
    uint32_t *offsets, *ends;
    int32_t *lines, *numbers;
    /* Records that are no rows, for Python to judge: these four, one after the other. */
    struct list irregular;
    int64_t records;
};

enum { FINISHED = 0, UNSURE = 1, NO_MEMORY = 2 };

int32_t csv_abi(void);

/* Do the jobs on all cells. UNSURE: the chunk has what only the careful reader can tell, such as a quote that is
   never closed; the results are void. */
int32_t csv_run(struct chunk *chunk, struct job *jobs, int64_t count);

/* Number a text among those of a job: what comes first has the lowest number. Returns -1 without memory. */
int32_t csv_number(struct job *job, const uint8_t *text, int64_t size);

/* Return how many bytes are a line feed or a carriage return: as many lines at most, but for the last. */
int64_t csv_line_ends(const uint8_t *data, int64_t size);

/* Copy texts one behind the other and note the end of each; a size below 0 counts as 0. */
void csv_gather(const uint8_t *data, const uint32_t *starts, const int32_t *sizes, int64_t count, uint8_t *out,
                int64_t *ends);

/* Give back what was allocated. */
void csv_done(struct chunk *chunk, struct job *jobs, int64_t count);

/* The hash of a value: 64 bits, the same on every machine; profile/statistics.py has it in Python. */
uint64_t csv_hash(const uint8_t *text, int64_t size);

/* cells.c */
int32_t csv_tile(struct chunk *chunk, struct job *job, const struct span *cells, int64_t first, int64_t rows);
int32_t csv_finish(struct job *job);
int32_t csv_append(struct list *list, int64_t item);
int32_t csv_is_utf8(const uint8_t *text, int64_t size);

/* How a file is read; what there is none of is -1. `limit` is the longest record, in bytes. */
typedef struct {
    int32_t delimiter, quote, escape, skip_space, blank_lines;
    int64_t limit;
} csv_dialect;

/* The way through a range from one state: in `state` the one at its begin, then the one at its end. */
typedef struct {
    int64_t state;
    int64_t records;  /* that begin in the range, blank lines only with blank_lines */
    int64_t first;    /* first place in the range where a record begins, or its end; -1 */
    int64_t last;     /* last such place; -1 */
    int64_t overlong; /* where the first record begins that ends in the range and is over the limit; -1 */
} csv_way;

enum { CSV_STATES = 8 };

/* What the bytes of a range say about the encoding; see csvfile/encoding.py. */
typedef struct {
    int64_t valid, invalid, first_invalid, high, in_runs, rare, damage;
} csv_tally;

/* Take every way through data[from, to). What surrounds the range is there to be looked at. */
void csv_scan(const uint8_t *data, int64_t size, int64_t from, int64_t to, const csv_dialect *dialect,
              csv_way *ways, int32_t count);

/* How many lines end in data[from, to), by LF, CR, or both; the end of the data is none. */
int64_t csv_lines(const uint8_t *data, int64_t size, int64_t from, int64_t to);

/* Count the bytes and characters of data[from, to); a character belongs where it begins. `kinds` says of each
   byte whether it is rare (1) and whether it is a sign of damage (2). */
void csv_weigh(const uint8_t *data, int64_t size, int64_t from, int64_t to, const uint8_t *kinds,
               csv_tally *tally);

#endif
