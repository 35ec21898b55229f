/* canonical.h - one text for all spellings of a JSON value, for the codec's own files.
 *
 * CANONICAL_RFC_8785 is the form that content hashes cover. CANONICAL_EXACT is not JSON:
 * it keeps numbers exact, and says when two values are equal to JSON Schema (enum, const,
 * uniqueItems).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SCHEMAS_CANONICAL_H
#define SCHEMAS_CANONICAL_H

#include "events/base/bytes.h"

enum canonical_form { CANONICAL_RFC_8785, CANONICAL_EXACT };

/* Appends the form of a JSON text. 0, ERROR_NO_MEMORY, or ERROR_INVALID: it is no JSON
 * text, or holds a number beyond what a double holds, for which RFC 8785 has no form. */
int canonical_append(struct bytes json, enum canonical_form form, struct buf *out);

#endif
