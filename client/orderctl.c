/*
 * orderctl.c
 *		The command line client of order-proxy, and of the outbox for operators: `orderctl --help`.
 */
#include "base/log.h"
#include "base/metrics.h"
#include "orderctl_call.h"
#include "orderctl_options.h"
#include "orderctl_outbox.h"
#include "orderctl_print.h"
#include "orderctl_status.h"
#include "uuid7.h"

int
main(int argc, char **argv)
{
	OrderctlOptions options;
	const OrderctlPrinter *printer;
	char key[UUID7_TEXT_SIZE];
	int exit_code;
	Loop *loop;

	if (!orderctl_options_read(&options, argc, argv, &exit_code))
		return exit_code;
	if (options.key == NULL &&
		(options.command == ORDERCTL_PLACE || options.command == ORDERCTL_CANCEL))
	{
		uuid7_make(key);
		options.key = key;
	}
	printer = options.is_json ? &orderctl_json_printer : &orderctl_text_printer;

	if (orderctl_command_is_for_operators(options.command))
		return orderctl_outbox(&options, printer);

	/* The log of the library is for servers; what matters here is printed. */
	log_configure(LOG_ERROR, LOG_FORMAT_TEXT);
	loop = loop_new();
	if (options.command == ORDERCTL_STATUS)
		exit_code = orderctl_status(loop, &options, printer);
	else
		exit_code = orderctl_call(loop, &options, printer);
	loop_free(loop);
	metrics_reset();
	return exit_code;
}
