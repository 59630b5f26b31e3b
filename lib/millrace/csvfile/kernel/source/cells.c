/* Cells: what is certain of their bytes, and what the jobs do with them. */

#include "csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

int32_t csv_abi(void)
{
    return CSV_ABI;
}

/* --- bytes ------------------------------------------------------------------------------------------------ */

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

static inline int is_digit(int byte)
{
    return byte >= '0' && byte <= '9';
}

static inline int is_letter(int byte)
{
    return (byte | 32) >= 'a' && (byte | 32) <= 'z';
}

static inline int is_blank(int byte)
{
    return byte == ' ' || (byte >= 9 && byte <= 13) || (byte >= 28 && byte <= 31);
}

/* Return how many bytes the white space at a text has, 0 where it has none: what str.isspace calls so. */
static inline int64_t blank_at(const uint8_t *text, int64_t rest)
{
    if (text[0] < 0x80) return is_blank(text[0]);
    if (rest >= 2 && text[0] == 0xC2) return text[1] == 0x85 || text[1] == 0xA0 ? 2 : 0;
    if (rest < 3) return 0;
    int point = (text[1] & 63) << 6 | (text[2] & 63);
    if (text[0] == 0xE1) return point == 0x680 ? 3 : 0;
    if (text[0] == 0xE2)
        return point <= 0x0A || point == 0x28 || point == 0x29 || point == 0x2F || point == 0x5F ? 3 : 0;
    return text[0] == 0xE3 && point == 0 ? 3 : 0;
}

static int is_missing(const uint8_t *text, int64_t size)
{
    while (size > 0) {
        int64_t blank = blank_at(text, size);
        if (!blank) return 0;
        text += blank, size -= blank;
    }
    return 1;
}

int32_t csv_is_utf8(const uint8_t *text, int64_t size)
{
    int64_t i = 0;
    while (i < size) {
        uint64_t word;
        if (i + 8 <= size) {
            memcpy(&word, text + i, 8);
            word &= 0x8080808080808080u;
            i += word ? __builtin_ctzll(word) / 8 : 8;
            if (!word) continue;
        }
        int byte = text[i];
        if (byte < 0x80) {
            i++;
            continue;
        }
        int more = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
        if (byte < 0xC2 || byte > 0xF4 || i + more >= size) return 0;
        for (int k = 1; k <= more; k++)
            if ((text[i + k] & 0xC0) != 0x80) return 0;
        int second = text[i + 1];
        if ((byte == 0xE0 && second < 0xA0) || (byte == 0xED && second > 0x9F) || (byte == 0xF0 && second < 0x90) ||
            (byte == 0xF4 && second > 0x8F))
            return 0;
        i += more + 1;
    }
    return 1;
}

/* --- growing things --------------------------------------------------------------------------------------- */

int32_t csv_append(struct list *list, int64_t item)
{
    if (list->count == list->room) {
        int64_t room = list->room ? 2 * list->room : 64;
        int64_t *items = realloc(list->items, (size_t)room * sizeof *items);
        if (!items) return NO_MEMORY;
        list->items = items, list->room = room;
    }
    list->items[list->count++] = item;
    return FINISHED;
}

static int grow(struct texts *texts)
{
    if (texts->count == texts->room) {
        int64_t room = texts->room ? 2 * texts->room : 32;
        struct entry *entries = realloc(texts->entries, (size_t)room * sizeof *entries);
        if (!entries) return NO_MEMORY;
        texts->entries = entries, texts->room = room;
    }
    if (!texts->slots || 2 * (texts->count + 1) > texts->slot_mask) {
        int64_t slots = texts->slots ? 2 * (texts->slot_mask + 1) : 64;
        free(texts->slots);
        texts->slots = malloc((size_t)slots * sizeof *texts->slots);
        if (!texts->slots) return NO_MEMORY;
        memset(texts->slots, 0xFF, (size_t)slots * sizeof *texts->slots);
        texts->slot_mask = slots - 1;
        for (int64_t i = 0; i < texts->count; i++) {
            int64_t slot = (int64_t)texts->entries[i].hash & texts->slot_mask;
            while (texts->slots[slot] >= 0) slot = (slot + 1) & texts->slot_mask;
            texts->slots[slot] = (int32_t)i;
        }
    }
    return FINISHED;
}

/* Return the number of a text, a new one where it is new; -1 without memory. */
static inline int32_t number_of(struct texts *texts, const uint8_t *text, int64_t size, uint64_t hash)
{
    if (texts->slots)
        for (int64_t slot = (int64_t)hash & texts->slot_mask;; slot = (slot + 1) & texts->slot_mask) {
            int32_t number = texts->slots[slot];
            if (number < 0) break;
            struct entry *entry = texts->entries + number;
            if (entry->hash == hash && entry->size == size && !memcmp(entry->text, text, (size_t)size))
                return number;
        }
    if (grow(texts)) return -1;
    int64_t slot = (int64_t)hash & texts->slot_mask;
    while (texts->slots[slot] >= 0) slot = (slot + 1) & texts->slot_mask;
    texts->entries[texts->count] = (struct entry){text, hash, 0, size};
    texts->slots[slot] = (int32_t)texts->count;
    return (int32_t)texts->count++;
}

static void forget(struct texts *texts)
{
    free(texts->entries);
    free(texts->slots);
    *texts = (struct texts){0};
}

int32_t csv_number(struct job *job, const uint8_t *text, int64_t size)
{
    return number_of(&job->texts, text, size, hash_of(text, size));
}

/* --- numbers ---------------------------------------------------------------------------------------------- */

struct number {
    double value;
    int dotted, integer, code, digit;
};

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Return (high * 2^64) / divisor, for high < divisor, and what is left over. */
static inline uint64_t divide(uint64_t high, uint64_t divisor, uint64_t *rest)
{
    uint64_t quotient = 0;
#if defined(__x86_64__)
    __asm__("divq %4" : "=a"(quotient), "=d"(*rest) : "a"(0ull), "d"(high), "r"(divisor) : "cc");
#else
    for (int i = 0; i < 64; i++) {
        uint64_t carry = high >> 63;
        high <<= 1, quotient <<= 1;
        if (carry || high >= divisor) high -= divisor, quotient |= 1;
    }
    *rest = high;
#endif
    return quotient;
}

/* Return m / 10^k to the nearest double, ties to even; 2^53 < m, 0 < k < 20. */
static double divided(uint64_t m, int k)
{
    uint64_t divisor = 1, rest;
    while (k--) divisor *= 10;
    uint64_t high = m / divisor, low = divide(m % divisor, divisor, &rest);
    /* The quotient is high * 2^64 + low in units of 2^-64: 54 bits at least. */
    int bits = high ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll(low), shift = bits - 53;
    unsigned __int128 quotient = (unsigned __int128)high << 64 | low, half = (unsigned __int128)1 << (shift - 1);
    uint64_t top = (uint64_t)(quotient >> shift);
    unsigned __int128 below = quotient & (2 * half - 1);
    if (below > half || (below == half && (rest || (top & 1)))) top++;
    return ldexp((double)top, shift - 64);
}

/* Read what the C library reads, from a copy that ends; point is the text's decimal point. */
static double careful(const uint8_t *text, int64_t size, int point)
{
    char room[128], *copy = size < 128 ? room : malloc((size_t)size + 1);
    if (!copy) return NAN;
    memcpy(copy, text, (size_t)size);
    copy[size] = 0;
    if (point != '.') {
        char *at = memchr(copy, point, (size_t)size);
        if (at) *at = '.';
    }
    double value = strtod(copy, NULL);
    if (copy != room) free(copy);
    return value;
}

/* Read a decimal number as float() does, in ASCII digits and without underscores; return 0 for any other text,
   the words for infinity too. */
static inline int read_number(const uint8_t *text, int64_t size, int point, struct number *number)
{
    while (size && is_blank(text[0])) text++, size--;
    while (size && is_blank(text[size - 1])) size--;
    const uint8_t *at = text, *end = text + size;
    int negative = 0, digits = 0, significant = 0, fraction = 0;
    if (at < end && (*at == '-' || *at == '+')) negative = *at++ == '-';
    const uint8_t *first = at;
    uint64_t mantissa = 0;
    for (; at < end && is_digit(*at); at++, digits++) {
        if (significant < 19) mantissa = 10 * mantissa + (uint64_t)(*at - '0');
        significant += significant || *at != '0';
    }
    number->dotted = at < end && *at == point;
    if (number->dotted)
        for (at++; at < end && is_digit(*at); at++, digits++, fraction++) {
            if (significant < 19) mantissa = 10 * mantissa + (uint64_t)(*at - '0');
            significant += significant || *at != '0';
        }
    if (!digits) return 0;
    number->integer = at == end && !number->dotted;
    number->code = number->integer && ((digits > 1 && *first == '0') || digits > 15);
    number->digit = number->integer && digits == 1 && *first <= '1';
    int exponent = 0, powers = 0;
    if (at < end && (*at == 'e' || *at == 'E')) {
        int capital = *at++ == 'E', minus = 0, sign = 0;
        if (at < end && (*at == '-' || *at == '+')) minus = *at++ == '-', sign = 1;
        for (; at < end && is_digit(*at); at++, powers++)
            if (exponent < 100000) exponent = 10 * exponent + (*at - '0');
        if (!powers) return 0;
        number->code = capital && !sign && !number->dotted;
        if (minus) exponent = -exponent;
    }
    if (at != end) return 0;
    int ten = exponent - fraction;
    double value;
    if (significant > 19) value = NAN;
    else if (!mantissa) value = 0.0;
    else if (mantissa <= 1ull << 53 && ten >= -22 && ten <= 22)
        value = ten < 0 ? (double)mantissa / TENS[-ten] : (double)mantissa * TENS[ten];
    else if (!ten) value = (double)mantissa;
    else if (ten < 0 && ten > -20 && mantissa > 1ull << 53) value = divided(mantissa, -ten);
    else value = NAN;
    if (value != value) value = careful(first, end - first, point);
    if (powers && isinf(value)) number->code = 0;
    number->value = negative ? -value : value;
    return 1;
}

/* --- times ------------------------------------------------------------------------------------------------ */

static inline int read_digits(const uint8_t *text, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        if (!is_digit(text[i])) return 0;
        *value = 10 * *value + (text[i] - '0');
    }
    return 1;
}

struct moment {
    int year, month, day, hour, minute, second, micro;
};

/* Return seconds since 1970, UTC; NaN where there is no such day or hour, or one division would not be exact.
   Days from a date of the Gregorian calendar: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
static double seconds(const struct moment *m)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (m->year < 1 || m->month < 1 || m->month > 12 || m->day < 1) return NAN;
    int leap = m->month == 2 && m->year % 4 == 0 && (m->year % 100 != 0 || m->year % 400 == 0);
    if (m->day > DAYS[m->month - 1] + leap || m->hour > 23 || m->minute > 59 || m->second > 59) return NAN;
    int64_t year = m->year - (m->month <= 2), era = year / 400, of_era = year - 400 * era;
    int64_t of_year = (153 * (m->month + (m->month > 2 ? -3 : 9)) + 2) / 5 + m->day - 1;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    int64_t whole = days * 86400 + m->hour * 3600 + m->minute * 60 + m->second;
    if (!m->micro) return (double)whole;
    int64_t micros = whole * 1000000 + m->micro;
    return llabs(micros) <= 1ll << 53 ? (double)micros / 1e6 : NAN;
}

/* Read 2024-01-31, with T or a blank and 23:59 or 23:59:59 or 23:59:59.123 or .123456, with Z; else NaN. */
static double read_iso(const uint8_t *text, int64_t size)
{
    struct moment m = {0};
    if (size < 10 || text[4] != '-' || text[7] != '-') return NAN;
    if (!read_digits(text, 4, &m.year) || !read_digits(text + 5, 2, &m.month) ||
        !read_digits(text + 8, 2, &m.day))
        return NAN;
    if (size > 10) {
        if (size < 16 || (text[10] != 'T' && text[10] != ' ') || text[13] != ':') return NAN;
        if (!read_digits(text + 11, 2, &m.hour) || !read_digits(text + 14, 2, &m.minute)) return NAN;
        int64_t at = 16;
        if (at + 3 <= size && text[at] == ':') {
            if (!read_digits(text + 17, 2, &m.second)) return NAN;
            at = 19;
            if (at < size && text[at] == '.') {
                int digits = 0;
                while (at + 1 + digits < size && is_digit(text[at + 1 + digits])) digits++;
                if (digits != 3 && digits != 6) return NAN;
                read_digits(text + at + 1, digits, &m.micro);
                if (digits == 3) m.micro *= 1000;
                at += 1 + digits;
            }
        }
        if (at < size && text[at] == 'Z') at++;
        if (at != size) return NAN;
    }
    return seconds(&m);
}

static double read_time(const uint8_t *text, int64_t size, const char *format)
{
    if (format[0] == 'i') return read_iso(text, size);
    struct moment m = {0};
    int64_t at = 0;
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            if (at >= size || text[at++] != (uint8_t)*f) return NAN;
            continue;
        }
        int count = *++f == 'Y' ? 4 : 2;
        int *value = *f == 'Y' ? &m.year : *f == 'm' ? &m.month : *f == 'd' ? &m.day
                   : *f == 'H' ? &m.hour : *f == 'M' ? &m.minute : &m.second;
        if (at + count > size || !read_digits(text + at, count, value)) return NAN;
        at += count;
    }
    return at == size ? seconds(&m) : NAN;
}

/* --- a column's profile ----------------------------------------------------------------------------------- */

enum { SKETCH_SLOTS = 8192 };

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static inline uint64_t slot_for(const uint64_t *sketch, uint64_t item)
{
    uint64_t slot = (item * 0x9E3779B97F4A7C15u) >> 51;
    while (sketch[slot] && sketch[slot] != item) slot = (slot + 1) & (SKETCH_SLOTS - 1);
    return slot;
}

/* Take a hash into the smallest ones. */
static void sketch_in(struct profile *p, uint64_t hash)
{
    uint64_t item = (hash >> 16) + 1;
    if (item >= p->threshold) return;
    uint64_t slot = slot_for(p->sketch, item);
    if (p->sketch[slot] == item) return;
    p->sketch[slot] = item;
    if (++p->sketched < SKETCH_SLOTS / 2) return;
    uint64_t kept[SKETCH_SLOTS / 2];
    int64_t count = 0;
    for (int64_t i = 0; i < SKETCH_SLOTS; i++)
        if (p->sketch[i]) kept[count++] = p->sketch[i];
    qsort(kept, (size_t)count, sizeof *kept, by_size);
    memset(p->sketch, 0, SKETCH_SLOTS * sizeof *p->sketch);
    p->sketched = p->sketch_size;
    p->threshold = kept[p->sketch_size];
    for (int64_t i = 0; i < p->sketch_size; i++) p->sketch[slot_for(p->sketch, kept[i])] = kept[i];
}

static int32_t weigh_number(struct evidence *e, double value, int64_t times)
{
    e->count += times;
    if (isinf(value)) {
        e->too_large += times;
        return FINISHED;
    }
    value += 0.0; /* no negative zero */
    if (!e->sums) {
        e->sums = calloc(2048, sizeof *e->sums);
        if (!e->sums) return NO_MEMORY;
        e->minimum = e->maximum = value;
    }
    uint64_t bits;
    memcpy(&bits, &value, 8);
    int64_t mantissa = (int64_t)(bits & 0xFFFFFFFFFFFFFu), power = bits >> 52 & 0x7FF;
    if (power) mantissa |= 1ll << 52;
    else power = 1;
    e->sums[power] += (__int128)(bits >> 63 ? -mantissa : mantissa) * times;
    if (value < e->minimum) e->minimum = value;
    if (value > e->maximum) e->maximum = value;
    return FINISHED;
}

enum { EXAMPLE = 80 };

/* Take the first 80 characters of a text for the example if they come first. */
static void weigh_example(struct profile *p, const uint8_t *text, int64_t size)
{
    int64_t characters = 0, cut = 0;
    for (; cut < size; cut++)
        if ((text[cut] & 0xC0) != 0x80 && ++characters > EXAMPLE) break;
    int64_t common = cut < p->example_size ? cut : p->example_size;
    int order = p->example ? memcmp(text, p->example, (size_t)common) : -1;
    if (order < 0 || (!order && cut < p->example_size)) p->example = text, p->example_size = cut;
}

/* What the characters of a text are; first and end leave out the white space around it. */
struct look {
    int64_t words, marks, runs, digits, foreign, dollars, characters, first, end;
    int in_word, in_run;
};

#if defined(__SSE2__)
static inline __m128i within(__m128i bytes, int low, int high)
{
    __m128i above = _mm_sub_epi8(bytes, _mm_set1_epi8((char)low));
    return _mm_cmpeq_epi8(_mm_min_epu8(above, _mm_set1_epi8((char)(high - low))), above);
}

static inline __m128i is(__m128i bytes, int byte)
{
    return _mm_cmpeq_epi8(bytes, _mm_set1_epi8((char)byte));
}

/* Look at up to 64 bytes at once, as far as none begins a character that may be white space; return how many. */
static int64_t look_wide(const uint8_t *text, int64_t at, int64_t size, struct look *t)
{
    uint8_t last[64] = {0};
    const uint8_t *from = text + at;
    int64_t rest = size - at;
    if (rest < 64) from = memcpy(last, from, (size_t)rest);
    uint64_t blanks = 0, letters = 0, digits = 0, dollars = 0, foreign = 0, continued = 0, leads = 0;
    for (int part = 0; part < 4; part++) {
        __m128i b = _mm_loadu_si128((const __m128i *)(from + 16 * part));
#define TAKE(mask, found) mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(found) << (16 * part)
        TAKE(blanks, _mm_or_si128(is(b, ' '), _mm_or_si128(within(b, 9, 13), within(b, 28, 31))));
        TAKE(letters, within(_mm_or_si128(b, _mm_set1_epi8(32)), 'a', 'z'));
        TAKE(digits, within(b, '0', '9'));
        TAKE(dollars, is(b, '$'));
        TAKE(foreign, _mm_or_si128(_mm_or_si128(_mm_or_si128(is(b, '@'), is(b, '=')), is(b, '&')),
                                   _mm_or_si128(is(b, '_'), is(b, '?'))));
        TAKE(continued, within(b, 0x80, 0xBF));
        TAKE(leads, _mm_or_si128(is(b, 0xC2), within(b, 0xE1, 0xE3)));
#undef TAKE
    }
    int64_t count = rest < 64 ? rest : 64;
    if (leads && __builtin_ctzll(leads) < count) count = __builtin_ctzll(leads);
    if (!count) return 0;
    const uint64_t seen = ~0ull >> (64 - count), marks = seen & ~blanks;
    letters &= seen;
    if (marks) {
        if (!t->words) t->first = at + __builtin_ctzll(marks);
        t->end = at + 64 - __builtin_clzll(marks);
    }
    t->words += __builtin_popcountll(marks & ~(marks << 1 | (uint64_t)t->in_word));
    t->runs += __builtin_popcountll(letters & ~(letters << 1 | (uint64_t)t->in_run));
    t->marks += __builtin_popcountll(marks & ~continued);
    t->characters += __builtin_popcountll(seen & ~continued);
    t->digits += __builtin_popcountll(digits & seen);
    t->dollars += __builtin_popcountll(dollars & seen);
    t->foreign += __builtin_popcountll(foreign & seen);
    t->in_word = marks >> (count - 1) & 1;
    t->in_run = letters >> (count - 1) & 1;
    return count;
}
#endif

static struct look look_at(const uint8_t *text, int64_t size)
{
    struct look t = {0};
#if defined(__SSE2__)
    enum { WORTH = 16 };
    int64_t narrow = 0; /* up to here byte by byte: characters that may be white space are many */
#endif
    for (int64_t i = 0; i < size;) {
#if defined(__SSE2__)
        if (i >= narrow && size - i >= WORTH) {
            int64_t count = look_wide(text, i, size, &t);
            if (count < WORTH) narrow = i + 64;
            i += count;
            if (count) continue;
        }
#endif
        int64_t space = blank_at(text + i, size - i);
        if (space) {
            t.characters++, i += space, t.in_word = t.in_run = 0;
            continue;
        }
        if (!t.words) t.first = i;
        int byte = text[i++], is_start = (byte & 0xC0) != 0x80, letter = is_letter(byte);
        t.end = i;
        t.characters += is_start, t.marks += is_start;
        t.words += !t.in_word, t.in_word = 1;
        t.runs += letter && !t.in_run, t.in_run = letter;
        t.digits += is_digit(byte), t.dollars += byte == '$';
        t.foreign += byte == '@' || byte == '=' || byte == '&' || byte == '_' || byte == '?';
    }
    return t;
}

/* Take a text that came so many times into account. */
static int32_t weigh(struct profile *p, const uint8_t *text, int64_t size, uint64_t hash, int64_t times)
{
    struct number number;
    if (read_number(text, size, '.', &number)) {
        p->count += times;
        p->tokens += times;
        if (size > p->longest) p->longest = size;
        p->integers += number.integer * times;
        p->codes += number.code * times;
        p->booleans += number.digit * times;
        if (!number.dotted && !p->exact) sketch_in(p, hash);
        return weigh_number(number.dotted ? &p->dotted : &p->undotted, number.value, times);
    }
    if (!p->exact) sketch_in(p, hash);
    double moment = read_iso(text, size);
    if (moment == moment) {
        if (!p->times || moment < p->earliest) p->earliest = moment;
        if (!p->times || moment > p->latest) p->latest = moment;
        p->times += times;
        p->count += times;
        int64_t words = 1 + (size > 10 && text[10] == ' ');
        p->tokens += words * times;
        p->multiword += (words > 1) * times;
        if (size > p->longest) p->longest = size;
        weigh_example(p, text, size);
        return FINISHED;
    }
    struct look t = look_at(text, size);
    /* Prose for sure: no word for missing, no boolean, no number in any style, no time. With digits and a letter
       first those have a blank, or a dollar. */
    int prose = t.marks > p->longest_word;
    if (t.digits)
        prose = t.runs >= 5 || (t.runs >= 2 && (t.foreign || t.marks > 40)) || (t.words == 1 && is_letter(text[t.first]) && !t.dollars);
    if (prose) {
        p->count += times;
        p->tokens += t.words * times;
        p->multiword += (t.words > 1) * times;
        if (t.characters > p->longest) p->longest = t.characters;
        weigh_example(p, text + t.first, t.end - t.first);
        return FINISHED;
    }
    int32_t other = number_of(&p->others, text, size, hash);
    if (other < 0) return NO_MEMORY;
    p->others.entries[other].count += times;
    return FINISHED;
}

static int32_t weigh_all(struct profile *p)
{
    for (int64_t i = 0; i < p->distinct.count; i++) {
        struct entry *entry = p->distinct.entries + i;
        if (weigh(p, entry->text, entry->size, entry->hash, entry->count)) return NO_MEMORY;
    }
    return FINISHED;
}

static void follow(struct profile *p, const uint8_t *text, int64_t size, int64_t number)
{
    int64_t value = 0;
    int counts = size > 0 && size < 16;
    for (int64_t i = 0; i < size && counts; i++) {
        counts = is_digit(text[i]);
        value = 10 * value + (text[i] - '0');
    }
    if (!counts || (p->sequenced && p->sequence != value - number)) {
        p->sequential = p->sequenced = 0;
        return;
    }
    p->sequenced = 1;
    p->sequence = value - number;
}

/* Return a record's part of a column's fingerprint; profile/statistics.py has it in Python. */
static inline uint64_t mark_of(uint64_t hash, int64_t record)
{
    uint64_t mark = (hash >> 16) ^ (uint64_t)(record + 1) * 0x9E3779B97F4A7C15u;
    mark = (mark ^ (mark >> 33)) * 0xFF51AFD7ED558CCDu;
    return mark ^ (mark >> 33);
}

static int32_t profile_tile(struct chunk *chunk, struct job *job, const struct span *cells, int64_t first,
                            int64_t rows)
{
    struct profile *p = job->profile;
    for (int64_t r = 0; r < rows; r++) {
        struct span cell = cells[r * chunk->width];
        const uint8_t *text = chunk->data + cell.start;
        int64_t size = cell.size;
        int64_t record = chunk->first_record + chunk->numbers[first + r];
        if (p->sequential) follow(p, text, size, record);
        if (!size || ((is_blank(*text) || *text >= 0x80) && is_missing(text, size))) {
            p->fingerprint += mark_of(0, record);
            p->missing++;
            continue;
        }
        uint64_t hash = hash_of(text, size);
        p->fingerprint += mark_of(hash, record);
        if (!p->exact) {
            if (weigh(p, text, size, hash, 1)) return NO_MEMORY;
            continue;
        }
        int32_t number = number_of(&p->distinct, text, size, hash);
        if (number < 0) return NO_MEMORY;
        p->distinct.entries[number].count++;
        if (p->distinct.count > p->limit) {
            p->exact = 0;
            p->sketch = calloc(SKETCH_SLOTS, sizeof *p->sketch);
            p->threshold = ~0ull;
            if (!p->sketch || weigh_all(p)) return NO_MEMORY;
            forget(&p->distinct);
        }
    }
    return FINISHED;
}

/* --- jobs ------------------------------------------------------------------------------------------------- */

int32_t csv_tile(struct chunk *chunk, struct job *job, const struct span *cells, int64_t first, int64_t rows)
{
    const int64_t width = chunk->width;
    if (job->kind == PROFILE) return profile_tile(chunk, job, cells, first, rows);
    for (int64_t r = 0; r < rows; r++) {
        struct span cell = cells[r * width];
        const uint8_t *text = chunk->data + cell.start;
        int64_t size = cell.size, row = first + r;
        int blank = job->blanks && (!size || ((is_blank(*text) || *text >= 0x80) && is_missing(text, size)));
        if (job->kind == SPANS) {
            job->starts[row] = cell.start;
            job->sizes[row] = blank ? -1 : (int32_t)size;
        } else if (job->kind == CODES) {
            int32_t number = blank ? -1 : number_of(&job->texts, text, size, hash_of(text, size));
            if (number < 0 && !blank) return NO_MEMORY;
            job->codes[row] = number;
        } else {
            job->values[row] = NAN;
            if (blank) continue;
            struct number number;
            double value = NAN;
            if (job->kind == TIMES) value = read_time(text, size, job->format);
            else if (read_number(text, size, job->point, &number) && !isinf(number.value)) value = number.value;
            if (value == value) {
                job->values[row] = value;
                continue;
            }
            int32_t odd = number_of(&job->texts, text, size, hash_of(text, size));
            if (odd < 0 || csv_append(&job->odd_rows, row) || csv_append(&job->odd_texts, odd)) return NO_MEMORY;
        }
    }
    return FINISHED;
}

/* Leave a profile's parts as Python reads them. */
int32_t csv_finish(struct job *job)
{
    if (job->kind != PROFILE) return FINISHED;
    struct profile *p = job->profile;
    if (p->exact) return weigh_all(p);
    int64_t count = 0;
    for (int64_t i = 0; i < SKETCH_SLOTS; i++) {
        uint64_t item = p->sketch[i];
        p->sketch[i] = 0;
        if (item) p->sketch[count++] = item;
    }
    qsort(p->sketch, (size_t)count, sizeof *p->sketch, by_size);
    p->sketched = count < p->sketch_size ? count : p->sketch_size;
    return FINISHED;
}

void csv_gather(const uint8_t *data, const uint32_t *starts, const int32_t *sizes, int64_t count, uint8_t *out,
                int64_t *ends)
{
    int64_t end = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t size = sizes[i] < 0 ? 0 : sizes[i];
        memcpy(out + end, data + starts[i], (size_t)size);
        ends[i] = end += size;
    }
}

void csv_done(struct chunk *chunk, struct job *jobs, int64_t count)
{
    free(chunk->irregular.items);
    chunk->irregular = (struct list){0};
    for (int64_t j = 0; j < count; j++) {
        struct job *job = jobs + j;
        forget(&job->texts);
        free(job->odd_rows.items);
        free(job->odd_texts.items);
        job->odd_rows = job->odd_texts = (struct list){0};
        struct profile *p = job->profile;
        if (!p) continue;
        forget(&p->distinct);
        forget(&p->others);
        free(p->sketch);
        free(p->dotted.sums);
        free(p->undotted.sums);
        p->sketch = NULL;
        p->dotted.sums = p->undotted.sums = NULL;
    }
}
