/* error.h - what a fallible function says when it fails.
 *
 * Fallible functions return 0, or a negative enum error_code; a positive value means "no
 * more" or "not found" where the header says so. The last parameter is a struct error in
 * the caller's storage. Branch on the code, show the text. The first error wins:
 * error_set() on an error that is already set keeps the first text. Texts never hold
 * personal data or secrets.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_ERROR_H
#define EVENTS_BASE_ERROR_H

#include <stdbool.h>

#define ERROR_CODES(X)                                                                   \
    X(NO_MEMORY, -1, "out of memory")                                                    \
    X(INVALID, -2, "invalid input")                                                      \
    X(NOT_FOUND, -3, "not found")                                                        \
    X(IO, -4, "input/output error")                                                      \
    X(NO_SPACE, -5, "no space left")                                                     \
    X(CORRUPT, -6, "damaged data")                                                       \
    X(LOCKED, -7, "in use")                                                              \
    X(VERSION, -8, "unknown version")                                                    \
    X(CONFLICT, -9, "conflict")                                                          \
    X(TIMEOUT, -10, "timed out")                                                         \
    X(KAFKA, -11, "Kafka error")                                                         \
    X(CONFIG, -12, "wrong configuration")                                                \
    X(USAGE, -13, "wrong usage")                                                         \
    X(TOO_LARGE, -14, "too large")                                                       \
    X(STOPPED, -15, "stopped")

enum error_code {
#define X(name, code, text) ERROR_##name = (code),
    ERROR_CODES(X)
#undef X
};

struct error {
    int code;       /* 0, or an enum error_code */
    bool retriable; /* the same call may succeed later */
    bool fatal;     /* the handle that failed is of no further use */
    char text[1024];
};

/* Records code and text unless err already holds an error, or is NULL. Returns code. */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts a text and ": " before the error's own text. No effect without an error. */
void error_prefix(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes err empty again. */
void error_clear(struct error *err);

/* The short text of a code, static. */
const char *error_code_text(int code);

#endif
