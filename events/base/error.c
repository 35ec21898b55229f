/* error.c - what a fallible function says when it fails.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, int code, const char *format, ...)
{
    if (err && err->code == 0) {
        va_list args;

        va_start(args, format);
        (void)vsnprintf(err->text, sizeof(err->text), format, args); /* cut if too long */
        va_end(args);
        err->code = code;
    }
    return code;
}

void error_prefix(struct error *err, const char *format, ...)
{
    if (!err || err->code == 0) {
        return;
    }
    char text[sizeof(err->text)];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t kept = strlen(err->text);
    size_t before = (size_t)length + 2;

    if (length < 0 || before >= sizeof(text)) {
        return; /* nothing of the error's own text would be left */
    }
    if (kept > sizeof(text) - 1 - before) {
        kept = sizeof(text) - 1 - before;
    }
    memmove(err->text + before, err->text, kept);
    memcpy(err->text, text, (size_t)length);
    memcpy(err->text + length, ": ", 2);
    err->text[before + kept] = '\0';
}

void error_clear(struct error *err)
{
    if (err) {
        err->code = 0;
        err->retriable = false;
        err->fatal = false;
        err->text[0] = '\0';
    }
}

const char *error_code_text(int code)
{
    switch (code) {
    case 0:
        return "success";
#define X(name, number, text)                                                            \
    case ERROR_##name:                                                                   \
        return text;
        ERROR_CODES(X)
#undef X
    default:
        return "unknown error";
    }
}
