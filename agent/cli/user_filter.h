/* user_filter.h - is this the user that was asked for? Compared as decisions compare
 * names (D6).
 *
 * `domain\user` means that user; a name without a backslash means the part behind it, in
 * any domain.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_USER_FILTER_H
#define AGENT_CLI_USER_FILTER_H

#include "events/base/bytes.h"
#include "events/base/error.h"

struct user_filter {
    bool set; /* false: everybody fits */
    bool any_domain;
    struct buf folded; /* of what was asked for */
    struct buf scratch;
};

/* ERROR_USAGE if text cannot be a name. Release in any case. */
int user_filter_init(struct user_filter *filter, const char *text, struct error *err);
bool user_filter_fits(struct user_filter *filter, struct bytes name);
void user_filter_release(struct user_filter *filter);

#endif
