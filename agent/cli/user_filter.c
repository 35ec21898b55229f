/* user_filter.c - see user_filter.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/user_filter.h"

#include <string.h>

#include "events/base/user_name.h"

/* Folding needs a whole name. A backslash neither folds nor composes, so what stands
 * behind it folds alike in every domain. */
#define ANY_DOMAIN "x\\"

static struct bytes behind_backslash(struct bytes name)
{
    const uint8_t *backslash = memchr(name.data, '\\', name.size);

    if (backslash == NULL)
        return name;
    return bytes_of(backslash + 1, name.size - (size_t)(backslash + 1 - name.data));
}

int user_filter_init(struct user_filter *filter, const char *text, struct error *err)
{
    struct buf name = BUF_INIT;
    int r = 0;

    *filter = (struct user_filter){.set = true, .any_domain = strchr(text, '\\') == NULL};
    if (filter->any_domain)
        (void)buf_append_str(&name, ANY_DOMAIN);
    if (buf_append_str(&name, text) < 0)
        r = error_set(err, ERROR_NO_MEMORY, "out of memory");
    const char *fault = r == 0 ? user_name_fault(buf_bytes(&name)) : NULL;
    if (fault != NULL)
        r = error_set(err, ERROR_USAGE, "--user: %s", fault);
    if (r == 0 && user_name_fold(buf_bytes(&name), &filter->folded) < 0)
        r = error_set(err, ERROR_NO_MEMORY, "out of memory");
    buf_release(&name);
    return r;
}

bool user_filter_fits(struct user_filter *filter, struct bytes name)
{
    if (!filter->set)
        return true;
    buf_clear(&filter->scratch);
    if (user_name_fold(name, &filter->scratch) < 0)
        return false;
    struct bytes wanted = buf_bytes(&filter->folded), found = buf_bytes(&filter->scratch);
    if (filter->any_domain) {
        wanted = behind_backslash(wanted);
        found = behind_backslash(found);
    }
    return bytes_equal(wanted, found);
}

void user_filter_release(struct user_filter *filter)
{
    buf_release(&filter->folded);
    buf_release(&filter->scratch);
}
