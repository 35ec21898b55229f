/* args.c - see args.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "events/base/datetime.h"

#define DURATION_MAX_MS (1000LL * 3600 * 24 * 365 * 1000)

int args_number(const char *name, const char *text, uint64_t least, uint64_t most,
                uint64_t *ret_value, struct error *err)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value < least ||
        value > most) {
        if (most == UINT64_MAX)
            return error_set(err, ERROR_USAGE,
                             "%s: a number from %" PRIu64 " on is wanted", name, least);
        return error_set(err, ERROR_USAGE,
                         "%s: a number from %" PRIu64 " to %" PRIu64 " is wanted", name,
                         least, most);
    }
    *ret_value = value;
    return 0;
}

static bool duration_parse(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1},        {"s", 1000},        {"", 1000},
                 {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    for (size_t i = 0; errno == 0 && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) == 0 && number <= DURATION_MAX_MS / units[i].ms) {
            *ret_ms = number * units[i].ms;
            return true;
        }
    }
    return false;
}

int args_duration(const char *name, const char *text, int64_t *ret_ms, struct error *err)
{
    if (duration_parse(text, ret_ms))
        return 0;
    return error_set(err, ERROR_USAGE,
                     "%s: a duration is wanted, as 500ms, 10s, 2m, 1h or 7d", name);
}

int args_time(const char *name, const char *text, int64_t now_ms, int64_t *ret_ms,
              struct error *err)
{
    int64_t duration_ms;

    if (rfc3339_parse(bytes_str(text), ret_ms))
        return 0;
    if (duration_parse(text + (text[0] == '-' || text[0] == '+'), &duration_ms)) {
        *ret_ms = text[0] == '-' ? now_ms - duration_ms : now_ms + duration_ms;
        return 0;
    }
    return error_set(
        err, ERROR_USAGE,
        "%s: a time is wanted, as 2026-01-31T12:00:00Z, or -15m (s, m, h, d) for what "
        "is past",
        name);
}
