/* Nearest neighbours: `plan.kinds.neighbors` describes the tree, scoring/rows/neighbors.py the walk. */

#include "kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Points of a leaf that are compared at a time; they lie input by input. */
enum { POINTS = 16 };

enum { EUCLIDEAN, MANHATTAN, CHEBYSHEV };

struct neighbors {
    int32_t width, asked, classes, metric, by_distance;
    int64_t *start, *end, *place;     /* of each node: its points, and where they lie in `points` */
    double *points, *bounds;          /* of each node the least and the greatest of each input */
    double *targets;                  /* of each point */
    double *row, *heap, *weights, *sums;
    int64_t *found, *order, *spare;
};

void millrace_neighbors_free(struct neighbors *t)
{
    if (!t) return;
    free(t->start); free(t->end); free(t->place); free(t->points); free(t->bounds); free(t->targets);
    free(t->row); free(t->heap); free(t->weights); free(t->sums); free(t->found); free(t->order); free(t->spare);
    free(t);
}

static void *room(int64_t count) { return calloc((size_t)count + 1, sizeof(double)); }

/* Copy a checked plan's points; NULL when memory is short. */
struct neighbors *millrace_neighbors(const double *points, const void *targets, char target_code, int64_t size,
                                     int32_t width, const void *start, char start_code, const void *end,
                                     char end_code, const double *low, const double *high, int32_t nodes,
                                     int32_t asked, int32_t classes, int32_t metric, int32_t by_distance)
{
    struct neighbors *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->width = width; t->asked = asked; t->classes = classes;
    t->metric = metric; t->by_distance = by_distance;
    t->start = room(nodes); t->end = room(nodes); t->place = room(nodes);
    int64_t padded = 0;
    if (t->start && t->end && t->place)
        for (int32_t node = 0; node < nodes; node++) {
            t->start[node] = whole(start, start_code, node);
            t->end[node] = whole(end, end_code, node);
            t->place[node] = padded * width;
            if (t->end[node]) padded += (t->end[node] - t->start[node] + POINTS - 1) / POINTS * POINTS;
        }
    t->points = room(padded * width); t->bounds = room(2 * (int64_t)nodes * width); t->targets = room(size);
    t->row = room(width); t->heap = room(asked); t->weights = room(asked); t->sums = room(classes);
    t->found = room(asked); t->order = room(asked); t->spare = room(asked);
    if (!t->start || !t->end || !t->place || !t->points || !t->bounds || !t->targets || !t->row || !t->heap
        || !t->weights || !t->sums || !t->found || !t->order || !t->spare) {
        millrace_neighbors_free(t);
        return NULL;
    }
    for (int32_t node = 0; node < nodes; node++) {
        for (int64_t c = 0; c < width; c++) {
            t->bounds[2 * (node * (int64_t)width + c)] = low[node * (int64_t)width + c];
            t->bounds[2 * (node * (int64_t)width + c) + 1] = high[node * (int64_t)width + c];
        }
        for (int64_t point = t->start[node]; point < t->end[node]; point++) {
            int64_t at = point - t->start[node];
            double *to = t->points + t->place[node] + at / POINTS * POINTS * width + at % POINTS;
            for (int64_t c = 0; c < width; c++) to[c * POINTS] = points[point * width + c];
        }
    }
    for (int64_t point = 0; point < size; point++)
        t->targets[point] = classes ? (double)whole(targets, target_code, point) : ((const double *)targets)[point];
    return t;
}

/* Reduced distances of the row from POINTS points, each added from left to right. */
INLINE void distances_body(const struct neighbors *t, const double *points, int metric, double *to)
{
    double total[POINTS] = {0.0};
    for (int64_t c = 0; c < t->width; c++, points += POINTS) {
        double x = t->row[c];
        for (int p = 0; p < POINTS; p++) {
            double apart = x - points[p];
            if (metric == EUCLIDEAN) total[p] += apart * apart;
            else if (metric == MANHATTAN) total[p] += fabs(apart);
            else total[p] = fabs(apart) > total[p] ? fabs(apart) : total[p];
        }
    }
    memcpy(to, total, sizeof total);
}

INLINE void euclidean_body(const struct neighbors *t, const double *points, double *to)
{
    distances_body(t, points, EUCLIDEAN, to);
}

INLINE void manhattan_body(const struct neighbors *t, const double *points, double *to)
{
    distances_body(t, points, MANHATTAN, to);
}

INLINE void chebyshev_body(const struct neighbors *t, const double *points, double *to)
{
    distances_body(t, points, CHEBYSHEV, to);
}

WIDE(euclidean, (const struct neighbors *t, const double *points, double *to), (t, points, to))
WIDE(manhattan, (const struct neighbors *t, const double *points, double *to), (t, points, to))
WIDE(chebyshev, (const struct neighbors *t, const double *points, double *to), (t, points, to))

/* The least reduced distance of the row from what a node bounds. */
static double bound(const struct neighbors *t, int64_t node)
{
    const double *bounds = t->bounds + 2 * node * t->width;
    double total = 0.0;
    for (int64_t c = 0; c < t->width; c++, bounds += 2) {
        double x = t->row[c], apart = 0.0;
        double below = bounds[0] - x, above = x - bounds[1];
        apart = above > 0.0 ? above : apart;
        apart = below > 0.0 ? below : apart;
        if (t->metric == EUCLIDEAN) total += apart * apart;
        else if (t->metric == MANHATTAN) total += apart;
        else if (apart > total) total = apart;
    }
    return total;
}

/* Put a point in the place of the farthest, which is at the top, and restore the heap. */
static void push(struct neighbors *t, double distance, int64_t point)
{
    int64_t place = 0, size = t->asked;
    for (;;) {
        int64_t left = 2 * place + 1, right = left + 1, larger = left;
        if (left >= size) break;
        if (right < size && !(t->heap[left] >= t->heap[right])) larger = right;
        if (!(distance < t->heap[larger])) break;
        t->heap[place] = t->heap[larger];
        t->found[place] = t->found[larger];
        place = larger;
    }
    t->heap[place] = distance;
    t->found[place] = point;
}

static void walk(struct neighbors *t, int64_t node, double least)
{
    if (least > t->heap[0]) return;
    int64_t start = t->start[node], end = t->end[node];
    if (end) {
        const double *points = t->points + t->place[node];
        for (int64_t from = start; from < end; from += POINTS, points += POINTS * (int64_t)t->width) {
            double to[POINTS];
            int64_t count = end - from < POINTS ? end - from : POINTS;
            if (t->metric == EUCLIDEAN) euclidean(t, points, to);
            else if (t->metric == MANHATTAN) manhattan(t, points, to);
            else chebyshev(t, points, to);
            for (int64_t p = 0; p < count; p++)
                if (!(to[p] >= t->heap[0])) push(t, to[p], from + p);
        }
        return;
    }
    int64_t first = 2 * node + 1, second = first + 1;
    double of_first = bound(t, first), of_second = bound(t, second);
    if (of_first <= of_second) {
        walk(t, first, of_first);
        walk(t, second, of_second);
    } else {
        walk(t, second, of_second);
        walk(t, first, of_first);
    }
}

/* Sort places of the heap by distance; equals stay in their order. */
static void sort(struct neighbors *t)
{
    int64_t size = t->asked, *from = t->order, *to = t->spare;
    for (int64_t k = 0; k < size; k++) from[k] = k;
    for (int64_t run = 1; run < size; run *= 2) {
        for (int64_t start = 0; start < size; start += 2 * run) {
            int64_t middle = start + run < size ? start + run : size;
            int64_t end = middle + run < size ? middle + run : size, a = start, b = middle;
            for (int64_t k = start; k < end; k++)
                to[k] = a < middle && (b >= end || !(t->heap[from[b]] < t->heap[from[a]])) ? from[a++] : from[b++];
        }
        int64_t *other = from;
        from = to;
        to = other;
    }
    t->order = from;
    t->spare = to;
}

/* Make weights of the sorted distances. */
static void weigh(struct neighbors *t)
{
    double *weights = t->weights;
    int at_one = 0;
    for (int64_t k = 0; k < t->asked; k++) {
        double reduced = t->heap[t->order[k]];
        weights[k] = !t->by_distance ? 1.0 : t->metric == EUCLIDEAN ? sqrt(reduced) : reduced;
        at_one |= weights[k] == 0.0;
    }
    if (!t->by_distance) return;
    for (int64_t k = 0; k < t->asked; k++)
        weights[k] = at_one ? (weights[k] == 0.0 ? 1.0 : 0.0) : 1.0 / weights[k];
}

/* Dense inputs, as many outputs as classes, or one. table: the points. */
void step_neighbors(const struct step *s, int64_t first, int64_t n)
{
    struct neighbors *t = (struct neighbors *)s->table;
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        for (int64_t c = 0; c < t->width; c++) t->row[c] = s->columns[c].data[r];
        for (int64_t k = 0; k < t->asked; k++) {
            t->heap[k] = INFINITY;
            t->found[k] = 0;
        }
        walk(t, 0, 0.0);
        sort(t);
        weigh(t);
        const double *weights = t->weights;
        double total = 0.0, sum = 0.0;
        if (!t->classes) {
            for (int64_t k = 0; k < t->asked; k++) {
                sum += t->targets[t->found[t->order[k]]] * weights[k];
                total += weights[k];
            }
            s->out[r] = total != 0.0 ? sum / total : NAN;
            continue;
        }
        for (int32_t j = 0; j < t->classes; j++) t->sums[j] = 0.0;
        for (int64_t k = 0; k < t->asked; k++) t->sums[(int32_t)t->targets[t->found[t->order[k]]]] += weights[k];
        for (int32_t j = 0; j < t->classes; j++) total += t->sums[j];
        for (int32_t j = 0; j < t->classes; j++)
            s->out[j * s->stride + r] = total != 0.0 ? t->sums[j] / total : t->sums[j];
    }
}
