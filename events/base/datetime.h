/* datetime.h - times as text. All times are milliseconds since 1970-01-01T00:00:00Z, UTC,
 * proleptic Gregorian, years 0000 to 9999; no clock is read here.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_DATETIME_H
#define EVENTS_BASE_DATETIME_H

#include <stdbool.h>
#include <stdint.h>

#include "events/base/bytes.h"

#define TIME_MS_MIN INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define TIME_MS_MAX INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define DAY_MS INT64_C(86400000)

#define RFC3339_SIZE 25 /* "2026-01-31T23:59:59.999Z" and NUL */
/* domain.md 0.1: "never happened" */
#define CIM_DATETIME_NEVER "00000000000000.000000+***"
#define CIM_DATETIME_SIZE 26 /* "20260131235959.999000+000" and NUL */

void rfc3339_format(int64_t time_ms, char ret_text[RFC3339_SIZE]);
void cim_datetime_format(int64_t time_ms, char ret_text[CIM_DATETIME_SIZE]);

/* The UTC day that a time lies in, counted from 1970-01-01, which is day 0. */
int64_t utc_day(int64_t time_ms);

/* RFC 3339 with any offset and any number of fraction digits (cut to milliseconds); leap
 * second 60 counts as 59.999. false if text is anything else. */
bool rfc3339_parse(struct bytes text, int64_t *ret_time_ms);
bool cim_datetime_parse(struct bytes text, int64_t *ret_time_ms);

#endif
