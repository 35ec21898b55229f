/* json_number.h - JSON numbers as exact decimals, for the codec's own files.
 *
 * A number's text is never rounded on its way to a decision: 2.0 and 2e0 are the integer
 * 2, and 9007199254740993 is not 9007199254740992. Only the canonical form (RFC 8785)
 * goes through a double, as it demands. Nothing here depends on the locale.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SCHEMAS_JSON_NUMBER_H
#define SCHEMAS_JSON_NUMBER_H

#include "events/base/bytes.h"

/* The value is 0.DDD x 10^exponent; D neither begins nor ends with a zero. No digits:
 * zero. */
struct json_decimal {
    const uint8_t *digits; /* in the number's text; a point may stand between them */
    size_t count;
    int64_t exponent;
    bool negative;
};

/* raw has the syntax of a JSON number; the decimal borrows it. */
struct json_decimal json_decimal_of(struct bytes raw);
bool json_decimal_is_integer(const struct json_decimal *decimal);
int json_decimal_compare(const struct json_decimal *a, const struct json_decimal *b);
/* False if it is no integer or does not fit. */
bool json_decimal_u64(const struct json_decimal *decimal, uint64_t *ret_value);
bool json_decimal_i64(const struct json_decimal *decimal, int64_t *ret_value);
/* 0, ERROR_NO_MEMORY, or ERROR_INVALID if it is beyond what a double holds. */
int json_decimal_double(const struct json_decimal *decimal, double *ret_value);

/* Appends one text for all spellings of a value, exact; for comparing only, not JSON. */
int json_decimal_append_exact(const struct json_decimal *decimal, struct buf *out);
/* Appends as ECMAScript prints it (RFC 8785, 3.2.2.3). Returns as
 * json_decimal_double(). */
int json_decimal_append_canonical(const struct json_decimal *decimal, struct buf *out);
/* The same of a finite double. */
int json_double_append(double value, struct buf *out);

#endif
