/* args.h - numbers, durations and times as people write them on the command line.
 *
 * Each returns 0, or ERROR_USAGE with what is wanted; name stands in the text
 * ("--timeout").
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_ARGS_H
#define AGENT_CLI_ARGS_H

#include <stdint.h>

#include "events/base/error.h"

/* Decimal, least <= value <= most. */
int args_number(const char *name, const char *text, uint64_t least, uint64_t most,
                uint64_t *ret_value, struct error *err);
/* "500ms", "10s", "10", "2m", "1h", "7d". */
int args_duration(const char *name, const char *text, int64_t *ret_ms, struct error *err);
/* RFC 3339, or a duration before now ("-15m") or after it ("+5m", "5m"). */
int args_time(const char *name, const char *text, int64_t now_ms, int64_t *ret_ms,
              struct error *err);

#endif
