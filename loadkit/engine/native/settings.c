#include "settings.h"

#include <string.h>

static bool fits(const struct setting *setting, int family) { return !setting->family || setting->family == family; }

static int family_of(int fd) {
    int family = 0;
    socklen_t length = sizeof family;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) ? 0 : family;
}

int settings_apply(const struct settings *settings, int fd) {
    int family = family_of(fd);
    for (uint32_t i = 0; i < settings->count; i++) {
        const struct setting *row = &settings->rows[i];
        if (!row->value.length || !fits(row, family)) continue;
        if (setsockopt(fd, (int)row->level, (int)row->number, row->value.bytes, row->value.length)) return -1;
    }
    return 0;
}

void settings_note(struct settings *settings, int fd, int64_t *state) {
    int family = family_of(fd);
    settings->are_noted = true;
    for (uint32_t i = 0; i < settings->count; i++) {
        const struct setting *row = &settings->rows[i];
        int64_t words[SETTING_WORDS] = {0};
        socklen_t length = sizeof words - sizeof *words;
        if (!fits(row, family) || getsockopt(fd, (int)row->level, (int)row->number, &words[1], &length)) continue;
        words[0] = length;
        memcpy(&state[STATE_setting_0 + i * SETTING_WORDS], words, sizeof words);
    }
}
