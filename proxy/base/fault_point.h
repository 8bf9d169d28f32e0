/*
 * fault_point.h
 *		Places where a test can end the process as a crash would.
 *
 * They exist only in builds with -DFAULT_POINTS (the variant asan); in all others a call is
 * nothing.
 */
#ifndef FAULT_POINT_H
#define FAULT_POINT_H

#ifdef FAULT_POINTS
/*
 * Ends the process by SIGKILL when it comes here for the Nth time, and the environment has
 * ORDER_PROXY_FAULT=STEP/WHAT:N.
 */
extern void fault_point(const char *step, const char *what);
#else
#define fault_point(step, what) ((void) 0)
#endif

#endif /* FAULT_POINT_H */
