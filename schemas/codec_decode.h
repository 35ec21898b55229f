/* codec_decode.h - what decoding and the texts of its errors share.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SCHEMAS_CODEC_DECODE_H
#define SCHEMAS_CODEC_DECODE_H

#include "schemas/codec_tables.h"
#include "schemas/json_scan.h"

/* Where the decoder stands: from the document down to the value. `order` says which fault
 * comes first: declared member or item, then by number; unknown members last. */
#define PATH_UNKNOWN UINT32_MAX
struct path_step {
    uint32_t order;
    const char *name; /* the member as the schema spells it; NULL: an item */
};

struct path {
    struct path_step steps[JSON_DEPTH_MAX + 1];
    size_t count;
};

/* Fills error for a mismatch at path. subject: "SourceId", or "the data" at the top. The
 * format's text follows the subject and a blank. */
void codec_error_mismatch(struct codec_error *error, const struct path *path,
                          size_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Fills error from what the scanner found. */
void codec_error_scan(struct codec_error *error, const struct json_scan *scan);

/* What a node expects, in words: "an integer from 1 to 9 or a list of 1 to 64 items". */
#define EXPECTATION_SIZE 160
const char *codec_expectation(const struct schema_node *node,
                              char ret_text[EXPECTATION_SIZE]);
/* "a string", "null", ... */
const char *codec_kind_text(enum json_kind kind);

#endif
