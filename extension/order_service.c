/*
 * order_service.c
 *		Entry point of the library.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "after_commit.h"
#include "database.h"
#include "publisher.h"
#include "settings.h"
#include "shared.h"

PG_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	settings_define();
	after_commit_init();
	database_init();
	/*
	 * Loaded by a single backend, or by pg_upgrade: the functions work, and nothing is published.
	 */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	shared_request();
	publisher_register();
}
