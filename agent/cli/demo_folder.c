/* demo_folder.c - see demo_folder.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* nftw */
#include "agent/cli/demo_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 16

static int io_error(struct error *err, const char *what, const char *path)
{
    return error_set(err, ERROR_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

/* ---- making ------------------------------------------------------------------------ */

static int make_temporary(struct demo_folder *folder, struct error *err)
{
    const char *parent = getenv("TMPDIR");
    char path[PATH_MAX];

    if (parent == NULL || *parent == '\0')
        parent = "/tmp";
    if (snprintf(path, sizeof(path), "%s/kinlog-demo-XXXXXX", parent) >=
        (int)sizeof(path))
        return error_set(err, ERROR_INVALID, "TMPDIR is too long");
    if (mkdtemp(path) == NULL)
        return io_error(err, "make a folder in", parent);
    if (realpath(path, folder->path) == NULL)
        return io_error(err, "find", path);
    folder->temporary = true;
    return 0;
}

static int require_empty(const char *path, struct error *err)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    bool empty = true;

    if (dir == NULL)
        return io_error(err, "open", path);
    while ((entry = readdir(dir)) != NULL)
        empty = empty &&
                (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    (void)closedir(dir);
    if (empty)
        return 0;
    return error_set(
        err, ERROR_CONFLICT,
        "there is something in %s: the demo wants a new or an empty folder. Its broker "
        "starts empty each time, so the log of an earlier demo cannot go on; but `kinlog "
        "list "
        "relationships --config %s/kinlog.conf` still reads one",
        path, path);
}

static int make_wanted(struct demo_folder *folder, const char *wanted, struct error *err)
{
    if (mkdir(wanted, 0700) != 0 && errno != EEXIST)
        return io_error(err, "make the folder", wanted);
    if (realpath(wanted, folder->path) == NULL) {
        folder->path[0] = '\0';
        return io_error(err, "find the folder", wanted);
    }
    return require_empty(folder->path, err);
}

static int join(char ret_path[PATH_MAX], const struct demo_folder *folder,
                const char *name, struct error *err)
{
    if (snprintf(ret_path, PATH_MAX, "%s/%s", folder->path, name) < PATH_MAX)
        return 0;
    return error_set(err, ERROR_INVALID, "the path of the demo's folder is too long");
}

int demo_folder_make(struct demo_folder *folder, const char *wanted, struct error *err)
{
    *folder = (struct demo_folder){.stderr_fd = -1};
    int code =
        wanted != NULL ? make_wanted(folder, wanted, err) : make_temporary(folder, err);

    if (code == 0)
        code = join(folder->config, folder, "kinlog.conf", err);
    if (code == 0)
        code = join(folder->log, folder, "agent.log", err);
    if (code == 0)
        code = join(folder->data, folder, "data", err);
    return code;
}

/* ---- configuration ----------------------------------------------------------------- */

static int write_config(const struct demo_folder *folder, unsigned port,
                        struct error *err)
{
    FILE *file = fopen(folder->config, "we");

    if (file == NULL)
        return io_error(err, "write", folder->config);
    (void)fprintf(
        file,
        "; Written by `kinlog demo`. The broker below lives only as long as that demo.\n"
        "[agent]\n"
        "data_dir = %s\n"
        "site = demo\n"
        "free_space_floor = 16M\n"
        "\n"
        "[log]\n"
        "level = warning\n"
        "\n"
        "[kafka]\n"
        "bootstrap.servers = 127.0.0.1:%u\n"
        "\n"
        "[kafka.consumer]\n"
        "; the embedded broker does not end this wait when something comes\n"
        "fetch.wait.max.ms = 10\n",
        folder->data, port);
    bool failed = ferror(file) != 0;

    if (fclose(file) != 0 || failed)
        return io_error(err, "write", folder->config);
    return 0;
}

int demo_folder_configure(struct demo_folder *folder, unsigned port,
                          struct config **ret_config, struct error *err)
{
    static char *const environment[] = {NULL}; /* the demo is the same for everybody */
    struct config_source source = {.file = folder->config, .environment = environment};
    int code = write_config(folder, port, err);

    if (code == 0)
        code = config_load(&source, ret_config, err);
    if (code < 0)
        return code;
    if (strcmp((*ret_config)->data_dir, folder->data) != 0)
        return error_set(err, ERROR_INVALID,
                         "the folder's path %s cannot be written in a configuration file",
                         folder->path);
    (*ret_config)->embedded = true;
    (*ret_config)->kafka.embedded = true;
    return 0;
}

/* ---- the agent's log --------------------------------------------------------------- */

int demo_folder_log_begin(struct demo_folder *folder, struct error *err)
{
    int fd = open(folder->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0)
        return io_error(err, "write", folder->log);
    (void)fflush(stderr);
    folder->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    bool turned = folder->stderr_fd >= 0 && dup2(fd, STDERR_FILENO) >= 0;

    (void)close(fd);
    return turned ? 0 : io_error(err, "turn stderr to", folder->log);
}

void demo_folder_log_end(struct demo_folder *folder)
{
    if (folder->stderr_fd < 0)
        return;
    (void)fflush(stderr);
    (void)dup2(folder->stderr_fd, STDERR_FILENO);
    (void)close(folder->stderr_fd);
    folder->stderr_fd = -1;
}

/* ---- removing ---------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *status, int type,
                        struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

void demo_folder_remove(struct demo_folder *folder)
{
    if (!folder->temporary || folder->path[0] == '\0')
        return;
    if (nftw(folder->path, remove_entry, DESCRIPTORS_MAX,
             FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
        (void)fprintf(stderr, "kinlog: cannot remove all of %s: %s\n", folder->path,
                      strerror(errno));
    folder->path[0] = '\0';
}
