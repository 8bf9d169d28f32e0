/*
 * setting.h
 *		One setting of the configuration: its description, and its value from and to text.
 *
 * Pure: knows no file and no other setting. A setting describes a field of a struct, whose address
 * every function gets as |config|.
 */
#ifndef SETTING_H
#define SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the field is, and what its text may be. */
typedef enum SettingType
{
	SETTING_TEXT,      /* char *, |minimum| to |maximum| bytes */
	SETTING_ADDRESS,   /* char *, host:port, where port 0 lets the system choose */
	SETTING_ENDPOINTS, /* char *, |minimum| to |maximum| host:port with commas between them */
	SETTING_NUMBER,    /* int */
	SETTING_DURATION,  /* int64_t, microseconds; written in us, ms, s or min */
	SETTING_CHOICE,    /* the same, or SETTING_OFF or SETTING_AUTO; written off, auto */
	SETTING_SIZE,      /* int64_t, bytes; written in bytes, KiB or MiB */
	SETTING_LEVEL,     /* LogLevel */
	SETTING_FORMAT,    /* LogFormat */
	SETTING_SWITCH,    /* bool, on or off */
} SettingType;

/* What a SETTING_CHOICE is when it is no duration. */
#define SETTING_OFF INT64_C(-1)
#define SETTING_AUTO INT64_C(0)

typedef struct Setting
{
	const char *section;
	const char *name;
	SettingType type;
	size_t offset;      /* of the field */
	const char *text;   /* the default of the types that are texts */
	int64_t number;     /* the default of all others */
	int64_t minimum;    /* of the default's unit */
	int64_t maximum;    /* of the default's unit */
	bool is_reloadable; /* a reload may change it while the proxy runs */
	const char *help;   /* one sentence */
} Setting;

/* Sets the field to the default. Texts are copied; setting_free() frees them. */
extern void setting_set_default(const Setting *setting, void *config);

/* Sets the field. False, and the field is as it was, when the text is not allowed. */
extern bool setting_set(const Setting *setting, void *config, const char *text);

/* Frees the field if it is a text. */
extern void setting_free(const Setting *setting, void *config);

/* Whether the field has the same value in both. */
extern bool setting_is_equal(const Setting *setting, const void *one, const void *other);

/* Gives the field the value that |from| has. */
extern void setting_copy(const Setting *setting, void *config, const void *from);

/* Writes the value as setting_set() takes it. */
extern void setting_write(const Setting *setting, const void *config, FILE *out);

/* Writes in words what is allowed: "a whole number from 1 to 200". */
extern void setting_write_allowed(const Setting *setting, FILE *out);

#endif /* SETTING_H */
