/* site_key.h - the key that the agents of a site share: a file of 64 hex digits, which its
 * owner alone may read. In memory it is a secret (events/secret.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_SITE_KEY_H
#define AGENT_SHARD_SITE_KEY_H

#include <stdint.h>

#include "events/base/error.h"
#include "events/event.h"

#define SITE_KEY_FINGERPRINT_SIZE 23 /* base64url of 16 bytes, and NUL */
/* What to do when it is not there, or not the right one; for error texts. */
#define SITE_KEY_CURE                                                                    \
    "put back the one that `kinlog init` made, or that of another agent of this site"

/* Gives memory of secret_new(). Refused is a file that is missing (ERROR_NOT_FOUND), that
 * is open to others than its owner, or that holds no key. */
int site_key_read(const char *path, uint8_t **ret_key, struct error *err);
void site_key_fingerprint(const uint8_t key[SITE_KEY_SIZE],
                          char ret_text[SITE_KEY_FINGERPRINT_SIZE]);

#endif
