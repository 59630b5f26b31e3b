/* Forests and boosted trees: `plan.kinds.trees` describes the table of nodes.

   Small trees are not walked. Each input becomes its rank among the thresholds that it is compared with, one
   byte (or two), and a node compares a vector of ranks at once: for 32 rows, one comparison and two logical
   operations say which of them go on to the left and to the right. All nodes of a tree are visited, with the
   set of rows that reach each of them, and a leaf writes its number where its set is. There is no branch that
   depends on a row. A category is a bit among those that its input's sets tell apart, eight (or sixteen) to a
   column, so whether it is in a node's set is a logical operation, too. Of few rows each is walked, over the same
   ranks and nodes: with 6 bytes a node there is little to fetch for a request that comes alone.

   Large trees are walked, eight rows at a time so that their loads overlap, over nodes of 8 bytes (forests,
   whose inputs are float32) or 16 bytes. A node's children stand side by side, so which of them is next is an
   addition and no branch. A leaf compares an input that is always 0 with its own number, and its step is 0:
   walking on stays there. Of a single row eight trees are walked at a time. */

#include "kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    RIGHT = 0, LEFT = 1, SET = 2,     /* sections of features: where a missing value goes; sets of categories */
    BYTES = 128,                      /* of ranks of a column that are compared at a time */
    MASK = 256, MASK_BYTES = 32,
    BYTE_LEAVES = 256, WORD_LEAVES = 64, /* leaves up to which visiting all nodes is quicker than walking */
    BYTE_BIAS = 0x80, WORD_BIAS = 0x8000, /* ranks are signed, for that is how vectors of bytes compare */
    LEAF = 0x8000, IN_SET = 0x4000, COLUMN = 0x3fff,
    AT_ONCE = 8,                      /* rows that walk together */
    SMALL_BITS = 12,                  /* of a small node's word: its column times AT_ONCE; above is its step */
    MOST_SETS = 1 << 16,
    MOST_LEAVES = 1 << 24,            /* of a tree that is walked: their numbers are float32 */
    WALK_BYTES = 400 << 10,           /* of inputs that stay in the cache while all trees are walked */
    FEW_RANKS = 8, FEW_WALKS = 2      /* rows up to which one after the other is quicker */
};

#define OF_SET (1u << 31)             /* in a large node's column */

/* Hide the type that a number was narrowed from, or clang compares bytes as integers of that type. */
#if defined(__GNUC__) || defined(__clang__)
#define OPAQUE(number) __asm__("" : "+r"(number))
#else
#define OPAQUE(number) (void)(number)
#endif

enum method { BYTE_RANKS, WORD_RANKS, SMALL_NODES, LARGE_NODES };

/* Its codes have `planes` columns from `place` on: one of ranks among `count` thresholds, or those of the bits of
   `count` categories and of all others. */
struct used { int32_t input, section, place, planes; int64_t start, count; int16_t zero, one; };
/* The code is a rank, or the number of a leaf, or of a set in 16 bits. Left is the next item, right one a step away. */
struct item { uint16_t column; int16_t code; uint16_t step; };
/* The step leads from a node to its left child; the right one is behind that. */
struct small { float threshold; uint32_t word; };
struct large { double threshold; uint32_t column, step; };

struct trees {
    enum method method;               /* for many rows */
    int32_t trees, width, outputs, single;
    int32_t sets;                     /* not 0: there are some; beside items, how many */
    int64_t divisor;
    const double *values, *baseline;  /* the plan's */
    int32_t number_single;            /* float32 or float64 */
    int32_t used_count, columns;      /* columns: of codes */
    struct used *used;                /* by input */
    int32_t *used_from;               /* first of each input, width + 1 of them */
    double *thresholds;               /* of each used column, sorted */
    const uint8_t *masks;             /* the plan's */
    int64_t set_size;
    void *chosen;                     /* of each set: how many columns its input has, then which bits of each */
    struct item *items;               /* in preorder, tree by tree */
    double *leaves;                   /* value, or row of `values`, tree by tree */
    int64_t *first_item, *first_leaf, *roots; /* trees + 1 of them */
    void *nodes;                      /* small, or large; none beside items */
    int32_t walk_rows;
    void *inputs;                     /* used_count + 1 columns of the rows that walk; the last is 0 */
    double *sums;                     /* of these rows, row by row */
};

struct table {
    const void *feature, *skip, *number;
    char feature_code, skip_code, number_code;
};

INLINE double real(const void *from, int single, int64_t i)
{
    return single ? (double)((const float *)from)[i] : ((const double *)from)[i];
}

void millrace_trees_free(struct trees *t)
{
    if (!t) return;
    free(t->used); free(t->used_from); free(t->thresholds); free(t->chosen); free(t->items);
    free(t->leaves); free(t->first_item); free(t->first_leaf); free(t->roots); free(t->nodes);
    free(t->inputs); free(t->sums);
    free(t);
}

/* Return the node behind a tree's last one; -1 when it is no tree (a left side must end where the right one
   begins), or compares with NaN. Counts its leaves. */
static int64_t end_of(const struct table *table, int64_t root, int64_t nodes, int32_t width, int64_t *waiting,
                      int64_t *leaves)
{
    int64_t depth = 0, i = root;
    *leaves = 0;
    for (;; i++) {
        int64_t step = whole(table->skip, table->skip_code, i);
        if (step) {
            if (step < 2 || depth >= nodes) return -1;
            double threshold = real(table->number, table->number_code == 'f', i);
            if (whole(table->feature, table->feature_code, i) < 2 * width && threshold != threshold) return -1;
            waiting[depth++] = i + step;
        } else {
            ++*leaves;
            if (!depth) return i + 1;
            if (waiting[--depth] != i + 1) return -1;
        }
    }
}

static int by_value(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* Say of each x how many of the sorted thresholds are less. The rows take each step of the search together,
   and no step is a branch. Not by gathering vectors: that is slow on processors that guard against leaks. */
INLINE void ranked(const double *thresholds, int64_t count, const double *x, int32_t *rank, int64_t rows)
{
    int32_t left = (int32_t)count;
    for (int64_t r = 0; r < rows; r++) rank[r] = 0;
    if (!count) return;
    for (; left > 1; left -= left / 2) {
        int32_t half = left / 2;
        for (int64_t r = 0; r < rows; r++)
            rank[r] += half & all_bits(thresholds[rank[r] + half - 1] < x[r]);
    }
    for (int64_t r = 0; r < rows; r++) rank[r] -= all_bits(thresholds[rank[r]] < x[r]);
}

INLINE int64_t rank_of(const double *thresholds, int64_t count, double x)
{
    int32_t rank;
    ranked(thresholds, count, &x, &rank, 1);
    return rank;
}

INLINE int64_t category(double x) { return x >= 0.0 && x < MASK - 1 ? (int64_t)x : MASK - 1; }

/* The category's bit among those of its input; the last is of all that no set tells from an unknown one. */
INLINE int32_t bit_of(const struct used *u, double x)
{
    int64_t code = category(x);
    return (int32_t)(code < u->count ? code : u->count);
}

INLINE int is_in(const uint8_t *mask, int64_t code) { return mask[code >> 3] >> (code & 7) & 1; }

INLINE int64_t code_of(const struct trees *t, const struct used *u, double x, int64_t highest)
{
    if (t->single) x = (double)(float)x;
    if (u->section == RIGHT && x != x) return highest;
    return rank_of(t->thresholds + u->start, u->count, x);
}

/* The row as the nodes compare it. */
INLINE double input_of(const struct trees *t, const struct used *u, double x)
{
    if (u->section == SET) return (double)category(x);
    if (t->single) x = (double)(float)x;
    return u->section == LEFT && x != x ? -INFINITY : x;
}

static int find_used(struct trees *t, const struct table *table)
{
    int64_t features = 3 * (int64_t)t->width;
    int32_t *number = calloc((size_t)features + 1, sizeof *number);
    if (!number) return 0;
    for (int32_t tree = 0; tree < t->trees; tree++)
        for (int64_t i = t->roots[2 * tree]; i < t->roots[2 * tree + 1]; i++)
            if (whole(table->skip, table->skip_code, i))
                number[whole(table->feature, table->feature_code, i)] = 1;
    for (int64_t f = 0; f < features; f++) t->used_count += number[f];
    t->used = calloc((size_t)t->used_count + 1, sizeof *t->used);
    t->used_from = calloc((size_t)t->width + 1, sizeof *t->used_from);
    if (t->used && t->used_from) {
        int32_t at = 0;
        for (int32_t input = 0; input < t->width; input++) {
            t->used_from[input] = at;
            for (int32_t section = 0; section < 3; section++)
                if (number[section * t->width + input]) {
                    t->used[at].input = input;
                    t->used[at++].section = section;
                    if (section == SET) t->sets = 1;
                }
        }
        t->used_from[t->width] = at;
    }
    free(number);
    return t->used && t->used_from;
}

INLINE int32_t used_by(const struct trees *t, const struct table *table, int64_t node)
{
    int64_t f = whole(table->feature, table->feature_code, node);
    int32_t input = (int32_t)(f % t->width), section = (int32_t)(f / t->width);
    int32_t at = t->used_from[input];
    while (t->used[at].section != section) at++;
    return at;
}

/* An input's two columns for numbers stand side by side and have the same thresholds: those of both. */
INLINE int is_second(const struct trees *t, int32_t at)
{
    return at > 0 && t->used[at].section == LEFT && t->used[at - 1].input == t->used[at].input;
}

/* Collect the sorted thresholds of each input; return the most that one has, or -1. */
static int64_t find_thresholds(struct trees *t, const struct table *table)
{
    int64_t total = 0, most = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t tree = 0; tree < t->trees; tree++)
            for (int64_t i = t->roots[2 * tree]; i < t->roots[2 * tree + 1]; i++)
                if (whole(table->skip, table->skip_code, i)) {
                    int32_t at = used_by(t, table, i);
                    struct used *u = &t->used[at - is_second(t, at)];
                    if (u->section == SET) continue;
                    if (pass) t->thresholds[u->start + u->count] = real(table->number, t->number_single, i);
                    u->count++;
                }
        if (pass) break;
        for (int32_t at = 0; at < t->used_count; at++) {
            t->used[at].start = total;
            total += t->used[at].count;
            t->used[at].count = 0;
        }
        t->thresholds = malloc(((size_t)total + 1) * sizeof *t->thresholds);
        if (!t->thresholds) return -1;
    }
    for (int32_t at = 0; at < t->used_count; at++) {
        struct used *u = &t->used[at];
        double *own = t->thresholds + u->start;
        int64_t count = 0;
        qsort(own, (size_t)u->count, sizeof *own, by_value);
        for (int64_t i = 0; i < u->count; i++)
            if (!i || own[i] != own[count - 1]) own[count++] = own[i];
        u->count = count;
        if (is_second(t, at)) u->start = u[-1].start, u->count = u[-1].count;
        if (count > most) most = count;
    }
    return most;
}

static int make_leaves(struct trees *t, const struct table *table, int64_t leaves)
{
    t->leaves = malloc(((size_t)leaves + 1) * sizeof *t->leaves);
    t->first_leaf = malloc(((size_t)t->trees + 1) * sizeof *t->first_leaf);
    if (!t->leaves || !t->first_leaf) return 0;
    int64_t leaf = 0;
    for (int32_t tree = 0; tree < t->trees; tree++) {
        t->first_leaf[tree] = leaf;
        for (int64_t i = t->roots[2 * tree]; i < t->roots[2 * tree + 1]; i++)
            if (!whole(table->skip, table->skip_code, i))
                t->leaves[leaf++] = real(table->number, t->number_single, i);
    }
    return 1;
}

INLINE const uint8_t *mask_of(const struct trees *t, const struct table *table, int64_t node)
{
    return t->masks + (int64_t)real(table->number, t->number_single, node) * MASK_BYTES;
}

/* Count the sets, and give each input its columns of codes, with `bits` categories in each; return how many
   columns there are. */
static int64_t find_places(struct trees *t, const struct table *table, int32_t bits)
{
    t->sets = 0;
    for (int32_t tree = 0; tree < t->trees; tree++)
        for (int64_t i = t->roots[2 * tree]; i < t->roots[2 * tree + 1]; i++)
            if (whole(table->skip, table->skip_code, i)) {
                struct used *u = &t->used[used_by(t, table, i)];
                if (u->section != SET) continue;
                const uint8_t *mask = mask_of(t, table, i);
                int64_t count = MASK - 1;
                t->sets++;
                while (count > u->count && is_in(mask, count - 1) == is_in(mask, MASK - 1)) count--;
                u->count = count;
            }
    int64_t columns = 0;
    t->set_size = 1;
    for (int32_t at = 0; at < t->used_count; at++) {
        struct used *u = &t->used[at];
        u->planes = u->section == SET ? (int32_t)u->count / bits + 1 : 1;
        u->place = (int32_t)columns;
        columns += u->planes;
        if (u->planes >= t->set_size) t->set_size = u->planes + 1;
    }
    return columns;
}

/* Note which bits of its input's columns are in a set; there are zeros so far. */
static void choose(struct trees *t, const struct used *u, const uint8_t *mask, int64_t number)
{
    int32_t bytes = t->method == BYTE_RANKS;
    uint8_t *in_bytes = (uint8_t *)t->chosen + number * t->set_size;
    uint16_t *in_words = (uint16_t *)t->chosen + number * t->set_size;
    if (bytes) in_bytes[0] = (uint8_t)u->planes;
    else in_words[0] = (uint16_t)u->planes;
    for (int32_t code = 0; code <= u->count; code++) {
        int in = is_in(mask, code < u->count ? code : MASK - 1);
        if (bytes) in_bytes[1 + code / 8] |= (uint8_t)(in << code % 8);
        else in_words[1 + code / 16] |= (uint16_t)(in << code % 16);
    }
}

static int make_items(struct trees *t, const struct table *table, int64_t nodes)
{
    int64_t bias = t->method == BYTE_RANKS ? BYTE_BIAS : WORD_BIAS, highest = 2 * bias - 1;
    t->items = malloc(((size_t)nodes + 1) * sizeof *t->items);
    t->first_item = malloc(((size_t)t->trees + 1) * sizeof *t->first_item);
    t->chosen = calloc((size_t)(t->sets + 1) * (size_t)t->set_size, sizeof(uint16_t));
    if (!t->items || !t->first_item || !t->chosen) return 0;
    struct item *item = t->items;
    int64_t set = 0;
    for (int32_t tree = 0; tree < t->trees; tree++) {
        uint16_t leaf_number = 0;
        t->first_item[tree] = item - t->items;
        for (int64_t i = t->roots[2 * tree]; i < t->roots[2 * tree + 1]; i++, item++) {
            double number = real(table->number, t->number_single, i);
            item->step = (uint16_t)whole(table->skip, table->skip_code, i);
            if (!item->step) {
                item->column = (uint16_t)(LEAF | t->columns);
                item->code = (int16_t)leaf_number++;
                continue;
            }
            int32_t at = used_by(t, table, i);
            const struct used *u = &t->used[at];
            if (u->section == SET) {
                choose(t, u, mask_of(t, table, i), set);
                item->column = (uint16_t)(u->place | IN_SET);
                item->code = (int16_t)set++;
                continue;
            }
            item->column = (uint16_t)u->place;
            item->code = (int16_t)(rank_of(t->thresholds + u->start, u->count, number) - bias);
        }
    }
    t->first_item[t->trees] = item - t->items;
    for (int32_t at = 0; at < t->used_count; at++) {
        if (t->used[at].section == SET) continue;
        t->used[at].zero = (int16_t)(code_of(t, &t->used[at], 0.0, highest) - bias);
        t->used[at].one = (int16_t)(code_of(t, &t->used[at], 1.0, highest) - bias);
    }
    return 1;
}

/* Lay out a tree: the table's nodes are in preorder, these in pairs of children. */
static void make_tree(struct trees *t, const struct table *table, int32_t tree, int64_t *waiting)
{
    int small = t->method == SMALL_NODES;
    int64_t root = t->roots[2 * tree], at = 0, behind = 1, depth = 0, leaf = 0;
    uint32_t nothing = (uint32_t)t->used_count * AT_ONCE;
    for (int64_t i = root;; i++) {
        int64_t step = whole(table->skip, table->skip_code, i);
        double number = real(table->number, table->number_code == 'f', i);
        uint32_t column = nothing, on = 0;
        if (step) {
            int32_t used = used_by(t, table, i);
            column = (uint32_t)used * AT_ONCE;
            if (t->used[used].section == SET) column |= OF_SET;
            on = (uint32_t)(behind - at);
            waiting[depth++] = behind + 1;
        } else {
            number = (double)leaf++;
        }
        if (small) {
            float rounded = (float)number;
            /* The greatest float32 that is at most the threshold: float32 inputs compare alike. */
            if ((double)rounded > number) rounded = nextafterf(rounded, -INFINITY);
            ((struct small *)t->nodes)[root + at].threshold = rounded;
            ((struct small *)t->nodes)[root + at].word = column | on << SMALL_BITS;
        } else {
            ((struct large *)t->nodes)[root + at] = (struct large){number, column, on};
        }
        if (step) {
            at = behind;
            behind += 2;
        } else if (depth) {
            at = waiting[--depth];
        } else {
            return;
        }
    }
}

static int make_nodes(struct trees *t, const struct table *table, int64_t nodes, int64_t *waiting)
{
    int small = t->method == SMALL_NODES;
    size_t size = small ? sizeof(struct small) : sizeof(struct large);
    int64_t row_bytes = (int64_t)(t->used_count + 1) * (small ? 4 : 8);
    t->walk_rows = (int32_t)(WALK_BYTES / row_bytes / AT_ONCE * AT_ONCE);
    if (t->walk_rows < AT_ONCE) t->walk_rows = AT_ONCE;
    t->nodes = calloc((size_t)nodes + 1, size);
    t->inputs = calloc((size_t)t->walk_rows, (size_t)row_bytes);
    t->sums = calloc((size_t)t->walk_rows, (size_t)t->outputs * sizeof *t->sums);
    if (!t->nodes || !t->inputs || !t->sums) return 0;
    for (int32_t tree = 0; tree < t->trees; tree++) make_tree(t, table, tree, waiting);
    return 1;
}

/* Make the trees of a checked plan; NULL when they are none that this can evaluate, or memory is short.
   `values`, `baseline` and `masks` must stay where they are. */
struct trees *millrace_trees(const void *feature, char feature_code, const void *skip, char skip_code,
                             const void *number, char number_code, int64_t nodes, const int32_t *roots,
                             int32_t count, int32_t width, int32_t outputs, const double *values,
                             const double *baseline, const uint8_t *masks, int32_t mean, int32_t single)
{
    struct table table = {feature, skip, number, feature_code, skip_code, number_code};
    struct trees *t = calloc(1, sizeof *t);
    int64_t *waiting = malloc(((size_t)nodes + 1) * sizeof *waiting);
    int64_t all_nodes = 0, all_leaves = 0, most_leaves = 0, longest = 0;
    int done = 0;
    if (!t || !waiting) goto end;
    t->trees = count;
    t->width = width;
    t->outputs = outputs;
    t->single = single;
    t->divisor = mean ? count : 0;
    t->values = values;
    t->baseline = baseline;
    t->number_single = number_code == 'f';
    t->masks = masks;
    t->roots = malloc((2 * (size_t)count + 1) * sizeof *t->roots);
    if (!t->roots) goto end;
    for (int32_t tree = 0; tree < count; tree++) {
        int64_t leaves, last = end_of(&table, roots[tree], nodes, width, waiting, &leaves);
        if (last < 0) goto end;
        t->roots[2 * tree] = roots[tree];
        t->roots[2 * tree + 1] = last;
        all_nodes += last - roots[tree];
        all_leaves += leaves;
        if (leaves > most_leaves) most_leaves = leaves;
        if (last - roots[tree] > longest) longest = last - roots[tree];
    }
    if (!find_used(t, &table)) goto end;
    t->method = LARGE_NODES;
    if (most_leaves <= BYTE_LEAVES) {
        int64_t most = find_thresholds(t, &table);
        if (most < 0) goto end;
        int bytes = most < 255;
        int64_t columns = find_places(t, &table, bytes ? 8 : 16);
        if (columns <= COLUMN && t->sets <= MOST_SETS && (bytes || (most < 0xffff && most_leaves <= WORD_LEAVES))) {
            t->method = bytes ? BYTE_RANKS : WORD_RANKS;
            t->columns = (int32_t)columns;
        }
    }
    if (t->method == LARGE_NODES && single && !t->sets && most_leaves <= MOST_LEAVES
        && (t->used_count + 1) * AT_ONCE <= 1 << SMALL_BITS && longest < 1 << (32 - SMALL_BITS))
        t->method = SMALL_NODES;
    done = make_leaves(t, &table, all_leaves)
           && (t->method == BYTE_RANKS || t->method == WORD_RANKS
                   ? make_items(t, &table, all_nodes)
                   : make_nodes(t, &table, nodes, waiting));
end:
    free(waiting);
    if (done) return t;
    millrace_trees_free(t);
    return NULL;
}

/* How the trees are evaluated: 0 ranks of one byte, 1 of two, 2 small nodes, 3 large ones. */
int32_t millrace_trees_method(const struct trees *t) { return (int32_t)t->method; }

#define BITS(type) (8 * (int32_t)sizeof(type))

/* Codes of the rows from .. from + lanes, `rows` of them in each column: ranks, or bits of categories. A row
   alone has the number of its category's bit. */
#define CODES(name, type, rows, bias)                                                                         \
    INLINE void name##_bits(const struct used *u, const int32_t *bit, type *to, int64_t lanes)                \
    {                                                                                                         \
        for (int32_t p = 0; p < u->planes; p++, to += rows)                                                   \
            for (int64_t r = 0; r < lanes; r++)                                                               \
                to[r] = (type)(bit[r] / BITS(type) == p ? 1 << bit[r] % BITS(type) : 0);                      \
    }                                                                                                         \
    static void name(const struct trees *t, const struct step *s, int64_t first, int64_t from, int64_t lanes, \
                     type *codes)                                                                             \
    {                                                                                                         \
        int32_t input = 0, at = 0, rank[rows];                                                                \
        double x[rows];                                                                                       \
        for (int64_t c = 0; c < s->count; c++) {                                                              \
            const struct column *in = &s->columns[c];                                                         \
            int32_t behind = input + in->width, start = at;                                                   \
            for (; at < t->used_count && t->used[at].input < behind; at++) {                                  \
                const struct used *u = &t->used[at];                                                          \
                type *to = codes + (int64_t)u->place * rows;                                                  \
                double number = (double)(in->first + (u->input - input));                                     \
                if (u->section == SET) {                                                                      \
                    for (int64_t r = 0; r < rows; r++)                                                        \
                        x[r] = r >= lanes || in->kind == SPARSE ? 0.0                                         \
                               : in->kind == ONE_HOT            ? in->data[from + r] == number                \
                                                                : in->data[from + r];                         \
                    if (rows == 1) {                                                                          \
                        *to = (type)bit_of(u, *x);                                                            \
                    } else {                                                                                  \
                        for (int64_t r = 0; r < rows; r++) rank[r] = bit_of(u, x[r]);                         \
                        name##_bits(u, rank, to, rows);                                                       \
                    }                                                                                         \
                    continue;                                                                                 \
                }                                                                                             \
                if (in->kind == DENSE) {                                                                      \
                    if (!is_second(t, at)) {                                                                  \
                        for (int64_t r = 0; r < rows; r++) x[r] = r < lanes ? in->data[from + r] : 0.0;       \
                        if (t->single)                                                                        \
                            for (int64_t r = 0; r < rows; r++) x[r] = (double)(float)x[r];                    \
                        ranked(t->thresholds + u->start, u->count, x, rank, rows);                            \
                    }                                                                                         \
                    if (u->section == RIGHT)                                                                  \
                        for (int64_t r = 0; r < rows; r++)                                                    \
                            to[r] = (type)((x[r] != x[r] ? 2 * bias - 1 : rank[r]) - bias);                   \
                    else                                                                                      \
                        for (int64_t r = 0; r < rows; r++) to[r] = (type)(rank[r] - bias);                    \
                } else if (in->kind == ONE_HOT) {                                                             \
                    for (int64_t r = 0; r < lanes; r++)                                                       \
                        to[r] = (type)(in->data[from + r] == number ? u->one : u->zero);                      \
                } else {                                                                                      \
                    for (int64_t r = 0; r < lanes; r++) to[r] = (type)u->zero;                                \
                }                                                                                             \
                for (int64_t r = lanes; r < rows; r++) to[r] = 0;                                             \
            }                                                                                                 \
            if (in->kind == SPARSE && at > start)                                                             \
                for (int64_t r = 0; r < lanes; r++) {                                                         \
                    const int64_t *entry = in->starts + first + from + r;                                     \
                    for (int64_t i = entry[0]; i < entry[1]; i++) {                                           \
                        int32_t k = in->index[i] - in->first;                                                 \
                        if (k < 0 || k >= in->width) continue;                                                \
                        for (int32_t a = t->used_from[input + k]; a < t->used_from[input + k + 1]; a++) {     \
                            const struct used *u = &t->used[a];                                               \
                            type *to = codes + (int64_t)u->place * rows + r;                                  \
                            if (u->section != SET) {                                                          \
                                *to = (type)(code_of(t, u, in->values[i], 2 * bias - 1) - bias);              \
                            } else {                                                                          \
                                int32_t bit = bit_of(u, in->values[i]);                                       \
                                if (rows == 1) *to = (type)bit;                                               \
                                else name##_bits(u, &bit, to, 1);                                             \
                            }                                                                                 \
                        }                                                                                     \
                    }                                                                                         \
                }                                                                                             \
            input = behind;                                                                                   \
        }                                                                                                     \
    }

/* Visit all nodes of a tree; `ids` are the leaves' numbers. */
#define VISIT(name, type, bare, rows)                                                                         \
    INLINE void name##_body(const struct trees *t, int32_t tree, const type *codes, bare *ids)                \
    {                                                                                                         \
        type waiting[BYTE_LEAVES][rows], here[rows], leaf[rows];                                              \
        const struct item *item = t->items + t->first_item[tree];                                             \
        int32_t depth = 0;                                                                                    \
        for (int32_t r = 0; r < rows; r++) { here[r] = -1; leaf[r] = 0; }                                     \
        for (;; item++) {                                                                                     \
            if (item->column & LEAF) {                                                                        \
                type number = (type)item->code;                                                               \
                for (int32_t r = 0; r < rows; r++) leaf[r] |= here[r] & number;                               \
                if (!depth) break;                                                                            \
                depth--;                                                                                      \
                for (int32_t r = 0; r < rows; r++) here[r] = waiting[depth][r];                               \
                continue;                                                                                     \
            }                                                                                                 \
            const type *code = codes + (int64_t)(item->column & COLUMN) * rows;                               \
            type *right = waiting[depth++];                                                                   \
            if (item->column & IN_SET) {                                                                      \
                const bare *set = (const bare *)t->chosen + (int64_t)(uint16_t)item->code * t->set_size;      \
                type chosen[rows];                                                                            \
                for (int32_t r = 0; r < rows; r++) chosen[r] = code[r] & (type)set[1];                        \
                for (int32_t p = 1; p < set[0]; p++)                                                          \
                    for (int32_t r = 0; r < rows; r++) chosen[r] |= code[p * rows + r] & (type)set[1 + p];    \
                for (int32_t r = 0; r < rows; r++) {                                                          \
                    type others = chosen[r] == 0 ? -1 : 0;                                                    \
                    right[r] = here[r] & others;                                                              \
                    here[r] &= ~others;                                                                       \
                }                                                                                             \
            } else {                                                                                          \
                type highest = (type)item->code;                                                              \
                OPAQUE(highest);                                                                              \
                for (int32_t r = 0; r < rows; r++) {                                                          \
                    type others = code[r] > highest ? -1 : 0;                                                 \
                    right[r] = here[r] & others;                                                              \
                    here[r] &= ~others;                                                                       \
                }                                                                                             \
            }                                                                                                 \
        }                                                                                                     \
        memcpy(ids, leaf, sizeof leaf);                                                                       \
    }                                                                                                         \
    WIDE(name, (const struct trees *t, int32_t tree, const type *codes, bare *ids), (t, tree, codes, ids))

#define EVALUATE(name, write, visit, type, bare, rows)                                                        \
    static void name(const struct trees *t, const struct step *s, int64_t first, int64_t n)                   \
    {                                                                                                         \
        type *codes = (type *)s->q;                                                                           \
        bare ids[rows];                                                                                       \
        for (int64_t from = 0; from < n; from += rows) {                                                      \
            int64_t lanes = n - from < rows ? n - from : rows;                                                \
            write(t, s, first, from, lanes, codes);                                                           \
            for (int32_t tree = 0; tree < t->trees; tree++) {                                                 \
                const double *leaves = t->leaves + t->first_leaf[tree];                                       \
                visit(t, tree, codes, ids);                                                                   \
                if (t->values) {                                                                              \
                    for (int64_t r = 0; r < lanes; r++) {                                                     \
                        const double *row = t->values + (int64_t)leaves[ids[r]] * t->outputs;                 \
                        for (int32_t k = 0; k < t->outputs; k++) s->out[k * s->stride + from + r] += row[k];  \
                    }                                                                                         \
                } else {                                                                                      \
                    double *out = s->out + tree % t->outputs * s->stride + from;                              \
                    for (int64_t r = 0; r < lanes; r++) out[r] += leaves[ids[r]];                             \
                }                                                                                             \
            }                                                                                                 \
        }                                                                                                     \
    }

CODES(byte_codes, int8_t, BYTES, BYTE_BIAS)
CODES(byte_code, int16_t, 1, BYTE_BIAS)
VISIT(byte_visit, int8_t, uint8_t, BYTES)
EVALUATE(byte_trees, byte_codes, byte_visit, int8_t, uint8_t, BYTES)
CODES(word_codes, int16_t, (BYTES / 2), WORD_BIAS)
CODES(word_code, int16_t, 1, WORD_BIAS)
VISIT(word_visit, int16_t, uint16_t, (BYTES / 2))
EVALUATE(word_trees, word_codes, word_visit, int16_t, uint16_t, (BYTES / 2))

/* The rows from .. from + lanes as the nodes compare them: AT_ONCE rows, column by column, then the next. */
#define PLACE(row, column) (((row) / AT_ONCE * size + (column)) * AT_ONCE + (row) % AT_ONCE)

#define INPUTS(name, type)                                                                                    \
    static void name(const struct trees *t, const struct step *s, int64_t first, int64_t from, int64_t lanes) \
    {                                                                                                         \
        type *inputs = t->inputs;                                                                             \
        int64_t size = t->used_count + 1;                                                                     \
        int32_t input = 0, at = 0;                                                                            \
        for (int64_t c = 0; c < s->count; c++) {                                                              \
            const struct column *in = &s->columns[c];                                                         \
            int32_t behind = input + in->width, start = at;                                                   \
            for (; at < t->used_count && t->used[at].input < behind; at++) {                                  \
                const struct used *u = &t->used[at];                                                          \
                if (in->kind == DENSE) {                                                                      \
                    for (int64_t r = 0; r < lanes; r++)                                                       \
                        inputs[PLACE(r, at)] = (type)input_of(t, u, in->data[from + r]);                      \
                } else if (in->kind == ONE_HOT) {                                                             \
                    double number = (double)(in->first + (u->input - input));                                 \
                    for (int64_t r = 0; r < lanes; r++)                                                       \
                        inputs[PLACE(r, at)] = in->data[from + r] == number ? 1 : 0;                          \
                } else {                                                                                      \
                    for (int64_t r = 0; r < lanes; r++) inputs[PLACE(r, at)] = 0;                             \
                }                                                                                             \
            }                                                                                                 \
            if (in->kind == SPARSE && at > start)                                                             \
                for (int64_t r = 0; r < lanes; r++) {                                                         \
                    const int64_t *entry = in->starts + first + from + r;                                     \
                    for (int64_t i = entry[0]; i < entry[1]; i++) {                                           \
                        int32_t k = in->index[i] - in->first;                                                 \
                        if (k < 0 || k >= in->width) continue;                                                \
                        for (int32_t a = t->used_from[input + k]; a < t->used_from[input + k + 1]; a++)       \
                            inputs[PLACE(r, a)] = (type)input_of(t, &t->used[a], in->values[i]);              \
                    }                                                                                         \
                }                                                                                             \
            input = behind;                                                                                   \
        }                                                                                                     \
        for (int64_t r = lanes; r % AT_ONCE; r++)                                                             \
            for (int64_t a = 0; a < size; a++) inputs[PLACE(r, a)] = 0;                                       \
    }

INPUTS(small_inputs, float)
INPUTS(large_inputs, double)

/* Walk from AT_ONCE nodes, of which each has a row of its own, or all the same; `leaf` becomes the numbers of the
   leaves in their trees. NaN is at most nothing and goes right. */
INLINE void small_walk(const struct small *nodes, const int64_t *start, const float *x, uint32_t own,
                       uint32_t *leaf)
{
    uint32_t here[AT_ONCE], going;
    for (int32_t l = 0; l < AT_ONCE; l++) here[l] = (uint32_t)start[l];
    do {
        going = 0;
        for (int32_t l = 0; l < AT_ONCE; l++) {
            const struct small *node = &nodes[here[l]];
            uint32_t step = node->word >> SMALL_BITS;
            float value = x[(node->word & ((1u << SMALL_BITS) - 1)) + own * (uint32_t)l];
            here[l] += step + !(value <= node->threshold);
            going |= step;
        }
    } while (going);
    for (int32_t l = 0; l < AT_ONCE; l++) leaf[l] = (uint32_t)nodes[here[l]].threshold;
}

INLINE void large_walk(const struct trees *t, const struct large *nodes, const int64_t *start, const double *x,
                       uint32_t own, uint32_t *leaf)
{
    uint32_t here[AT_ONCE], going;
    for (int32_t l = 0; l < AT_ONCE; l++) here[l] = (uint32_t)start[l];
    do {
        going = 0;
        for (int32_t l = 0; l < AT_ONCE; l++) {
            const struct large *node = &nodes[here[l]];
            double value = x[(node->column & ~OF_SET) + own * (uint32_t)l];
            uint32_t right = !(value <= node->threshold);
            if (t->sets && node->column & OF_SET)
                right = !is_in(t->masks + (int64_t)node->threshold * MASK_BYTES, (int64_t)value);
            here[l] += node->step + right;
            going |= node->step;
        }
    } while (going);
    for (int32_t l = 0; l < AT_ONCE; l++) leaf[l] = (uint32_t)nodes[here[l]].threshold;
}

INLINE void walk(const struct trees *t, int64_t root, int64_t row, int small, uint32_t *leaf)
{
    static const int64_t start[AT_ONCE] = {0};
    int64_t size = t->used_count + 1;
    if (small)
        small_walk((const struct small *)t->nodes + root, start, (const float *)t->inputs + row * size, 1, leaf);
    else
        large_walk(t, (const struct large *)t->nodes + root, start, (const double *)t->inputs + row * size, 1, leaf);
}

/* Add the leaves of all trees to the sums of rows that lie row by row, `outputs` of them each. */
INLINE void walk_all(const struct trees *t, int64_t lanes, int small, int outputs)
{
    uint32_t leaf[AT_ONCE];
    for (int32_t tree = 0; tree < t->trees; tree++) {
        const double *leaves = t->leaves + t->first_leaf[tree];
        for (int64_t row = 0; row < lanes; row += AT_ONCE) {
            walk(t, t->roots[2 * tree], row, small, leaf);
            double *sum = t->sums + row * outputs;
            if (t->values) {
                for (int32_t l = 0; l < AT_ONCE; l++, sum += outputs) {
                    const double *values = t->values + (int64_t)leaves[leaf[l]] * outputs;
                    for (int k = 0; k < outputs; k++) sum[k] += values[k];
                }
            } else {
                sum += tree % outputs;
                for (int32_t l = 0; l < AT_ONCE; l++, sum += outputs) *sum += leaves[leaf[l]];
            }
        }
    }
}

/* Loops over few outputs are unrolled. */
INLINE void walk_outputs(const struct trees *t, int64_t lanes, int small)
{
    switch (t->outputs) {
    case 1: walk_all(t, lanes, small, 1); break;
    case 2: walk_all(t, lanes, small, 2); break;
    case 3: walk_all(t, lanes, small, 3); break;
    case 4: walk_all(t, lanes, small, 4); break;
    case 5: walk_all(t, lanes, small, 5); break;
    default: walk_all(t, lanes, small, t->outputs);
    }
}

static void walked_trees(const struct trees *t, const struct step *s, int64_t first, int64_t n)
{
    int32_t outputs = t->outputs;
    for (int64_t from = 0; from < n; from += t->walk_rows) {
        int64_t lanes = n - from < t->walk_rows ? n - from : t->walk_rows;
        for (int64_t r = 0; r < (lanes + AT_ONCE - 1) / AT_ONCE * AT_ONCE; r++)
            for (int32_t k = 0; k < outputs; k++)
                t->sums[r * outputs + k] = t->baseline ? t->baseline[k] : 0.0;
        if (t->method == SMALL_NODES) {
            small_inputs(t, s, first, from, lanes);
            walk_outputs(t, lanes, 1);
        } else {
            large_inputs(t, s, first, from, lanes);
            walk_outputs(t, lanes, 0);
        }
        for (int32_t k = 0; k < outputs; k++)
            for (int64_t r = 0; r < lanes; r++) s->out[k * s->stride + from + r] = t->sums[r * outputs + k];
    }
}

/* Walk from AT_ONCE items, each of another tree; `leaf` becomes the numbers of the leaves. */
INLINE void rank_walk(const struct trees *t, const int64_t *start, const int16_t *codes, int bytes,
                      uint32_t *leaf)
{
    const struct item *here[AT_ONCE];
    uint32_t going;
    for (int32_t l = 0; l < AT_ONCE; l++) here[l] = t->items + start[l];
    do {
        going = 0;
        for (int32_t l = 0; l < AT_ONCE; l++) {
            const struct item *item = here[l];
            int16_t code = codes[item->column & COLUMN];
            int32_t right = code > item->code;
            if (t->sets && item->column & IN_SET) {
                int64_t set = (int64_t)(uint16_t)item->code * t->set_size + 1;
                right = bytes ? !(((const uint8_t *)t->chosen)[set + code / 8] >> code % 8 & 1)
                              : !(((const uint16_t *)t->chosen)[set + code / 16] >> code % 16 & 1);
            }
            here[l] += right ? item->step : 1;
            going |= item->step;
        }
    } while (going);
    for (int32_t l = 0; l < AT_ONCE; l++) leaf[l] = (uint32_t)here[l]->code;
}

/* Add all trees' leaves to the sums of one row. */
INLINE void walk_row(const struct trees *t, const struct step *s, int64_t first, int64_t row, enum method method)
{
    int ranks = method == BYTE_RANKS || method == WORD_RANKS;
    const int64_t *roots = ranks ? t->first_item : t->roots;
    int64_t start[AT_ONCE], each = ranks ? 1 : 2;
    uint32_t leaf[AT_ONCE];
    int16_t *codes = (int16_t *)s->q;
    switch (method) {
    case BYTE_RANKS: byte_code(t, s, first, row, 1, codes); break;
    case WORD_RANKS: word_code(t, s, first, row, 1, codes); break;
    case SMALL_NODES: small_inputs(t, s, first, row, 1); break;
    case LARGE_NODES: large_inputs(t, s, first, row, 1); break;
    }
    if (ranks) codes[t->columns] = INT16_MAX; /* above all leaves' numbers: walking on stays there */
    double *out = s->out + row;
    for (int32_t tree = 0, output = 0; tree < t->trees; tree += AT_ONCE) {
        int32_t lanes = t->trees - tree < AT_ONCE ? t->trees - tree : AT_ONCE;
        for (int32_t l = 0; l < AT_ONCE; l++) start[l] = roots[each * (tree + (l < lanes ? l : 0))];
        switch (method) {
        case BYTE_RANKS: rank_walk(t, start, codes, 1, leaf); break;
        case WORD_RANKS: rank_walk(t, start, codes, 0, leaf); break;
        case SMALL_NODES: small_walk(t->nodes, start, t->inputs, 0, leaf); break;
        case LARGE_NODES: large_walk(t, t->nodes, start, t->inputs, 0, leaf); break;
        }
        for (int32_t l = 0; l < lanes; l++) {
            double number = t->leaves[t->first_leaf[tree + l] + leaf[l]];
            if (t->values) {
                const double *values = t->values + (int64_t)number * t->outputs;
                for (int32_t k = 0; k < t->outputs; k++) out[k * s->stride] += values[k];
            } else {
                out[output * s->stride] += number;
                if (++output == t->outputs) output = 0;
            }
        }
    }
}

#define FEW(name, method)                                                                                     \
    static void name(const struct trees *t, const struct step *s, int64_t first, int64_t n)                   \
    {                                                                                                         \
        for (int64_t row = 0; row < n; row++) walk_row(t, s, first, row, method);                             \
    }

FEW(few_byte, BYTE_RANKS)
FEW(few_word, WORD_RANKS)
FEW(few_small, SMALL_NODES)
FEW(few_large, LARGE_NODES)

/* Bytes that a step's `q` needs. */
int64_t millrace_trees_scratch(const struct trees *t) { return (int64_t)(t->columns + 1) * BYTES; }

/* table: the trees; q: scratch. */
void step_trees(const struct step *s, int64_t first, int64_t n)
{
    const struct trees *t = s->table;
    int ranks = t->method == BYTE_RANKS || t->method == WORD_RANKS;
    for (int32_t k = 0; k < t->outputs; k++)
        for (int64_t r = 0; r < n; r++) s->out[k * s->stride + r] = t->baseline ? t->baseline[k] : 0.0;
    int few = n <= (ranks ? FEW_RANKS : FEW_WALKS);
    switch (t->method) {
    case BYTE_RANKS: (few ? few_byte : byte_trees)(t, s, first, n); break;
    case WORD_RANKS: (few ? few_word : word_trees)(t, s, first, n); break;
    case SMALL_NODES: (few ? few_small : walked_trees)(t, s, first, n); break;
    case LARGE_NODES: (few ? few_large : walked_trees)(t, s, first, n); break;
    }
    if (t->divisor)
        for (int32_t k = 0; k < t->outputs; k++)
            for (int64_t r = 0; r < n; r++) s->out[k * s->stride + r] /= (double)t->divisor;
}
