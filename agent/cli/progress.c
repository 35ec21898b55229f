/* progress.c - see progress.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/clock.h"

#define DELAY_MS 1000
#define REDRAW_MS 100
#define BAR_WIDTH 30

void progress_begin(struct progress *progress, const char *label)
{
    *progress = (struct progress){.label = label,
                                  .terminal = isatty(STDERR_FILENO) != 0,
                                  .start_ms = clock_monotonic_ms()};
}

static void print_left(int64_t seconds)
{
    if (seconds < 120)
        (void)fprintf(stderr, "  %" PRId64 " s left", seconds);
    else if (seconds < 120 * 60)
        (void)fprintf(stderr, "  %" PRId64 " min left", seconds / 60);
    else
        (void)fprintf(stderr, "  %" PRId64 " h %" PRId64 " min left", seconds / 3600,
                      seconds / 60 % 60);
}

static void draw_bar(const struct progress *progress, uint64_t done, uint64_t total,
                     int64_t passed_ms)
{
    char bar[BAR_WIDTH + 1];
    double part = done >= total ? 1.0 : (double)done / (double)total;

    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = (double)i < part * BAR_WIDTH ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(stderr, "[%s] %3.0f %%", bar, part * 100);
    if (progress->unit != NULL)
        (void)fprintf(stderr, "  %.0f %s/s",
                      (double)progress->count * 1000 / (double)passed_ms, progress->unit);
    if (part > 0.01)
        print_left((int64_t)((double)passed_ms * (1.0 - part) / part) / 1000 + 1);
}

void progress_step(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;

    if (!progress->terminal)
        return;
    int64_t now_ms = clock_monotonic_ms(), passed_ms = now_ms - progress->start_ms;
    if (passed_ms < DELAY_MS ||
        (progress->drawn && now_ms - progress->drawn_ms < REDRAW_MS))
        return;
    (void)fprintf(stderr, "\r%s ", progress->label);
    if (total > 0)
        draw_bar(progress, done, total, passed_ms);
    else
        (void)fprintf(stderr, "%" PRIu64, done);
    (void)fputs("\033[K", stderr);
    (void)fflush(stderr);
    progress->drawn = true;
    progress->drawn_ms = now_ms;
}

void progress_end(struct progress *progress)
{
    if (progress->drawn)
        (void)fputs("\r\033[K", stderr);
    progress->drawn = false;
}
