/* json_number.c - decimals: parsing, comparing, converting, printing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "schemas/json_number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events/base/error.h"

/* Beyond this an exponent's size makes no difference to anything; it keeps sums in
 * range. */
#define EXPONENT_MAX 1000000000
/* Integers of so many digits are exact in a double, and printed without exponent. */
#define PLAIN_DIGITS_MAX 15
#define DOUBLE_DIGITS_MAX 17

static int64_t parse_exponent(const uint8_t *at, const uint8_t *end)
{
    bool negative = *at == '-';
    int64_t value = 0;

    if (*at == '-' || *at == '+') {
        at++;
    }
    for (; at < end && value < EXPONENT_MAX; at++) {
        value = value * 10 + (*at - '0');
    }
    return negative ? -value : value;
}

struct json_decimal json_decimal_of(struct bytes raw)
{
    struct json_decimal decimal = {NULL, 0, 0, raw.data[0] == '-'};
    const uint8_t *end = raw.data + raw.size;
    size_t seen = 0; /* digits from the first that is not zero */
    int64_t before =
        0; /* digits before the point, leading zeros less; zeros behind it count down */
    bool point = false;
    const uint8_t *at = raw.data + (decimal.negative ? 1 : 0);

    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        if (decimal.digits == NULL && *at == '0') {
            before -= point ? 1 : 0;
            continue;
        }
        if (decimal.digits == NULL) {
            decimal.digits = at;
        }
        before += point ? 0 : 1;
        seen++;
        if (*at != '0') {
            decimal.count = seen;
        }
    }
    if (decimal.count == 0) {
        return (struct json_decimal){NULL, 0, 0, false};
    }
    decimal.exponent = before + (at < end ? parse_exponent(at + 1, end) : 0);
    return decimal;
}

/* The digit at *at, moving on; a point is stepped over. */
static int next_digit(const uint8_t **at)
{
    if (**at == '.') {
        (*at)++;
    }
    return *(*at)++ - '0';
}

bool json_decimal_is_integer(const struct json_decimal *decimal)
{
    return decimal->count == 0 || decimal->exponent >= (int64_t)decimal->count;
}

static int compare_magnitude(const struct json_decimal *a, const struct json_decimal *b)
{
    if (a->count == 0 || b->count == 0) {
        return (a->count > 0) - (b->count > 0);
    }
    if (a->exponent != b->exponent) {
        return a->exponent < b->exponent ? -1 : 1;
    }
    const uint8_t *one = a->digits, *other = b->digits;
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        int difference = next_digit(&one) - next_digit(&other);
        if (difference != 0) {
            return difference < 0 ? -1 : 1;
        }
    }
    return (a->count > b->count) - (a->count < b->count);
}

int json_decimal_compare(const struct json_decimal *a, const struct json_decimal *b)
{
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    return a->negative ? -compare_magnitude(a, b) : compare_magnitude(a, b);
}

static bool magnitude_u64(const struct json_decimal *decimal, uint64_t *ret_value)
{
    uint64_t value = 0;
    const uint8_t *at = decimal->digits;

    if (!json_decimal_is_integer(decimal) || decimal->exponent > 20) {
        return false;
    }
    for (int64_t i = 0; i < decimal->exponent; i++) {
        uint64_t digit = i < (int64_t)decimal->count ? (uint64_t)next_digit(&at) : 0;
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

bool json_decimal_u64(const struct json_decimal *decimal, uint64_t *ret_value)
{
    return !decimal->negative && magnitude_u64(decimal, ret_value);
}

bool json_decimal_i64(const struct json_decimal *decimal, int64_t *ret_value)
{
    uint64_t magnitude = 0;

    if (!magnitude_u64(decimal, &magnitude) ||
        magnitude > (uint64_t)INT64_MAX + (decimal->negative ? 1 : 0)) {
        return false;
    }
    if (!decimal->negative) {
        *ret_value = (int64_t)magnitude;
    } else {
        *ret_value = magnitude == 0 ? 0 : -(int64_t)(magnitude - 1) - 1;
    }
    return true;
}

static int append_digits(const struct json_decimal *decimal, struct buf *out)
{
    const uint8_t *at = decimal->digits;

    (void)buf_reserve(out, decimal->count + 32); /* a failure sticks */
    for (size_t i = 0; i < decimal->count; i++) {
        (void)buf_append_byte(out, (uint8_t)('0' + next_digit(&at)));
    }
    return out->failed ? ERROR_NO_MEMORY : 0;
}

int json_decimal_append_exact(const struct json_decimal *decimal, struct buf *out)
{
    if (decimal->count == 0) {
        return buf_append_byte(out, '0');
    }
    (void)buf_append_str(out, decimal->negative ? "-" : "");
    (void)append_digits(decimal, out);
    (void)buf_append_byte(out, 'e');
    return buf_append_i64dec(out, decimal->exponent);
}

int json_decimal_double(const struct json_decimal *decimal, double *ret_value)
{
    struct buf text = BUF_INIT;

    if (decimal->count == 0) {
        *ret_value = 0;
        return 0;
    }
    /* All digits and an exponent: without a point, for the locale may have another. */
    (void)buf_append_str(&text, decimal->negative ? "-" : "");
    (void)append_digits(decimal, &text);
    (void)buf_append_byte(&text, 'e');
    (void)buf_append_i64dec(&text, decimal->exponent - (int64_t)decimal->count);
    double value = strtod(buf_cstr(&text), NULL);
    int r = text.failed ? ERROR_NO_MEMORY : isfinite(value) ? 0 : ERROR_INVALID;
    buf_release(&text);
    if (r == 0) {
        *ret_value = value;
    }
    return r;
}

/* A double's shortest digits D and the exponent of 0.DDD x 10^exponent. */
struct shortest {
    char digits[DOUBLE_DIGITS_MAX + 1];
    int count;
    int exponent;
};

/* Takes apart what printf's %e wrote: one digit, the locale's point, digits, e,
 * exponent. */
static struct shortest take_apart(const char *text)
{
    struct shortest shortest = {{0}, 0, 0};
    const char *at = text;

    for (; *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9' && shortest.count < DOUBLE_DIGITS_MAX) {
            shortest.digits[shortest.count++] = *at;
        }
    }
    shortest.exponent = (int)strtol(at + 1, NULL, 10) + 1;
    while (shortest.count > 1 && shortest.digits[shortest.count - 1] == '0') {
        shortest.digits[--shortest.count] = '\0';
    }
    return shortest;
}

static struct shortest find_shortest(double positive)
{
    struct shortest shortest = {{0}, 0, 0};

    for (int precision = 0; precision < DOUBLE_DIGITS_MAX; precision++) {
        char text[48];
        (void)snprintf(text, sizeof(text), "%.*e", precision, positive);
        shortest = take_apart(text);
        (void)snprintf(text, sizeof(text), "%se%d", shortest.digits,
                       shortest.exponent - shortest.count);
        if (strtod(text, NULL) == positive) {
            break;
        }
    }
    return shortest;
}

static void append_zeros(struct buf *out, int count)
{
    for (int i = 0; i < count; i++) {
        (void)buf_append_byte(out, '0');
    }
}

/* Number::toString of ECMAScript, steps 6 to 10: n is the exponent, k the count. */
static int append_shortest(const struct shortest *shortest, struct buf *out)
{
    int n = shortest->exponent, k = shortest->count;

    if (n >= k && n <= 21) {
        (void)buf_append_str(out, shortest->digits);
        append_zeros(out, n - k);
    } else if (n > 0 && n < k) {
        (void)buf_append(out, shortest->digits, (size_t)n);
        (void)buf_append_byte(out, '.');
        (void)buf_append(out, shortest->digits + n, (size_t)(k - n));
    } else if (n > -6 && n <= 0) {
        (void)buf_append_str(out, "0.");
        append_zeros(out, -n);
        (void)buf_append_str(out, shortest->digits);
    } else {
        (void)buf_append_byte(out, (uint8_t)shortest->digits[0]);
        (void)buf_append_str(out, k > 1 ? "." : "");
        (void)buf_append_str(out, shortest->digits + 1);
        (void)buf_append_str(out, n > 0 ? "e+" : "e");
        (void)buf_append_i64dec(out, n - 1);
    }
    return out->failed ? ERROR_NO_MEMORY : 0;
}

int json_double_append(double value, struct buf *out)
{
    if (value == 0) {
        return buf_append_byte(out, '0');
    }
    (void)buf_append_str(out, value < 0 ? "-" : "");
    struct shortest shortest = find_shortest(fabs(value));
    return append_shortest(&shortest, out);
}

int json_decimal_append_canonical(const struct json_decimal *decimal, struct buf *out)
{
    int64_t plain;
    double value;

    if (decimal->exponent <= PLAIN_DIGITS_MAX && json_decimal_i64(decimal, &plain)) {
        return buf_append_i64dec(out, plain);
    }
    int r = json_decimal_double(decimal, &value);
    return r != 0 ? r : json_double_append(value, out);
}
