/* json_out.h - writes JSON to a stream, indented or one object a line.
 *
 *     json_out_begin(&json, stdout, pretty);
 *     json_out_object(&json, NULL);              a key is given inside objects, NULL elsewhere
 *     json_out_string(&json, "Name", "PC7");
 *     json_out_array(&json, "Sources");
 *     json_out_integer(&json, NULL, 2);
 *     json_out_close(&json);                     the array
 *     json_out_close(&json);                     the object
 *     json_out_end(&json);                       newline
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_JSON_OUT_H
#define AGENT_CLI_JSON_OUT_H

#include <stdio.h>

#include "events/base/bytes.h"

#define JSON_OUT_DEPTH_MAX 16

struct json_out {
    FILE *file;
    bool pretty;
    size_t depth;
    struct {
        char closing;
        bool used; /* has a member */
    } levels[JSON_OUT_DEPTH_MAX];
};

void json_out_begin(struct json_out *json, FILE *file, bool pretty);
void json_out_object(struct json_out *json, const char *key);
void json_out_array(struct json_out *json, const char *key);
void json_out_close(struct json_out *json);
void json_out_end(struct json_out *json);

void json_out_string(struct json_out *json, const char *key,
                     const char *value); /* NULL = null */
void json_out_text(struct json_out *json, const char *key,
                   struct bytes value); /* absent = null */
void json_out_integer(struct json_out *json, const char *key, int64_t value);
void json_out_unsigned(struct json_out *json, const char *key, uint64_t value);
void json_out_bool(struct json_out *json, const char *key, bool value);
void json_out_null(struct json_out *json, const char *key);
/* A list of numbers; null if there are none. */
void json_out_numbers(struct json_out *json, const char *key, const uint32_t *values,
                      size_t count);
/* JSON text as it stands. */
void json_out_raw(struct json_out *json, const char *key, struct bytes value);

#endif
