/*
 * bench_help.c
 *		The help of order-bench.
 */
#include "bench_help.h"

static const char whom_text[] =
	"usage: order-bench [OPTIONS]\n"
	"\n"
	"Sends orders to an order-proxy and measures how long the answers take.\n"
	"\n"
	"whom\n"
	"  --server HOST:PORT  the proxy; the default is $ORDER_PROXY\n"
	"  --session ID        a session; the default is $ORDER_SESSION\n"
	"  --sessions FILE     sessions, one on each line. With no more than there are connections,\n"
	"                      each connection logs in with one; with more, each request names one.\n"
	"  --connections N     the default is 1\n"
	"  --no-reconnect      a lost connection stays lost, its requests are not answered. Without\n"
	"                      this it is made again, and they are repeated with their keys.\n";

static const char how_text[] =
	"\n"
	"how\n"
	"  --closed            each answer makes room for the next request (the default)\n"
	"  --rate R            open loop: R requests a second, whatever the server does. Latency\n"
	"                      counts from when a request was due, not from when it could be sent:\n"
	"                      waiting is not left out (no coordinated omission).\n"
	"  --burst N           of requests that are due together (above 3000/s), so many go out on\n"
	"                      one connection with one write; the default is 16, 1 spreads them all\n"
	"  --in-flight N       at most so many on each connection; the default is 1, with --rate 256\n"
	"\n"
	"how long\n"
	"  --duration S        seconds; the default is 10\n"
	"  --orders N          or until N requests of all kinds were sent\n"
	"  --warm-up S         before that, seconds that are not measured\n"
	"  --patience S        give up when nothing more was answered for so long (30)\n";

static const char what_text[] =
	"\n"
	"what\n"
	"  --repeat PERCENT    requests that repeat an earlier order with its key\n"
	"  --cancel PERCENT    requests that cancel an earlier order\n"
	"  --symbols A,B,...   the default is ACME\n"
	"  --side SIDE         buy (the default), sell or both\n"
	"  --quantity N        the default is 1\n"
	"  --price PRICE       a decimal number (100.00), or market\n"
	"  --seed N            the same seed makes the same mix; keys are always new\n"
	"\n"
	"results\n"
	"  --json FILE         what the table shows, and the options; latencies in microseconds\n"
	"  --log FILE          a line for each answer: KEY KIND ORDER_ID CODE REPLAYED. KIND is\n"
	"                      place, repeat or cancel; ORDER_ID is 0 where none was recorded;\n"
	"                      REPLAYED is 0 or 1\n";

static const char end_text[] =
	"\n"
	"On a terminal a line tells how it goes. Ctrl-C ends the sending, then waits for answers.\n"
	"\n"
	"examples\n"
	"  order-bench --connections 8 --in-flight 16 --duration 30\n"
	"  order-bench --connections 50 --rate 1000 --warm-up 5 --duration 60 --repeat 5\n"
	"\n"
	"exit codes\n"
	"  0  every request was answered, whatever the answer\n"
	"  1  some were not answered or not sent, a repeated key did not bring back its order, or\n"
	"     there was no run\n"
	"  2  the command line is wrong\n";

void
bench_help_write(FILE *out)
{
	fputs(whom_text, out);
	fputs(how_text, out);
	fputs(what_text, out);
	fputs(end_text, out);
}
