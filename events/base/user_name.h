/* user_name.h - `domain\user` names: what is a name, and when two are the same (decision
 * D6).
 *
 * Rules 1 pin Unicode 15.0 (utf8proc 2.8). A name is at most 256 bytes of UTF-8, has
 * exactly one backslash, both halves neither empty nor with blanks (White_Space) at their
 * ends, no code point of category Cc, Cf, Zl, Zp, Cs, Cn. Two names are the same if
 * NFC(fold(NFC(name))) is, fold being Unicode default (full) case folding.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_USER_NAME_H
#define EVENTS_BASE_USER_NAME_H

#include "events/base/bytes.h"
#include "events/base/error.h"

#define USER_NAME_BYTES_MAX 256

/* What is wrong with a name: static text that names the fault and the cure but not the
 * name; NULL if nothing is. */
const char *user_name_fault(struct bytes name);

/* Appends the form for comparison of a valid name. 0, ERROR_NO_MEMORY, or ERROR_INVALID
 * for a name that is too long or not UTF-8. */
int user_name_fold(struct bytes name, struct buf *out);

/* Is the linked Unicode library the one that rules 1 pin? */
bool user_name_library_fits(void);

#endif
