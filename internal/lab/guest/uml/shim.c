/*
 * Preloaded into User-Mode Linux, which is an ordinary program of this machine.
 * Two things in kernels before 6.13 need help:
 *
 * 1. Such a kernel saves and loads the extended registers of its processes in
 *    buffers of 832 octets (x87, SSE, AVX). The host takes PTRACE_SETREGSET for
 *    NT_X86_XSTATE only with a buffer of its own size, which is larger where
 *    the processor has AVX-512 or AMX, and the guest panics on its first
 *    process. So every buffer of the guest gets a companion of full size: what
 *    the guest knows of is copied between the two, what it does not know of
 *    waits in the companion.
 *
 * 2. Its idle loop looks for work and then calls sigsuspend(). A SIGIO between
 *    the two is noted and forgotten, and the packet it told of waits for the
 *    next timer. So each SIGIO is counted, and sigsuspend() returns at once
 *    when one came since it was last called.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The XSAVE area: its header lies at 512 and begins with a bit for each part that holds something. */
enum { LARGEST = 16384, HEADER = 512, BUCKETS = 1024 };
enum { X87_SSE_AVX = 7 };

/* companion of one buffer of the guest; they are never freed: a guest has few processes. */
struct companion {
	struct companion *next;
	const void *of;
	unsigned char area[LARGEST] __attribute__((aligned(64)));
};

static struct companion *buckets[BUCKETS];
static size_t host_size;

static struct companion *companion_of(const void *buffer, int *fresh)
{
	struct companion **b = &buckets[((uintptr_t)buffer >> 6) % BUCKETS], *c;

	*fresh = 0;
	for (c = *b; c; c = c->next)
		if (c->of == buffer)
			return c;
	if (posix_memalign((void **)&c, 64, sizeof *c))
		abort();
	memset(c, 0, sizeof *c);
	c->of = buffer;
	c->next = *b;
	*b = c;
	*fresh = 1;
	return c;
}

/* read_area fills a full-size area from a process and learns the host's size. */
static long read_area(long pid, unsigned char *area)
{
	struct iovec v = { area, LARGEST };
	long r = syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &v);

	if (r >= 0)
		host_size = v.iov_len;
	return r;
}

static long get_registers(long pid, struct iovec *guest)
{
	int fresh;
	struct companion *c = companion_of(guest->iov_base, &fresh);
	long r = read_area(pid, c->area);

	if (r < 0)
		return r;
	if (guest->iov_len > host_size)
		guest->iov_len = host_size;
	memcpy(guest->iov_base, c->area, guest->iov_len);
	return r;
}

static long set_registers(long pid, struct iovec *guest)
{
	static unsigned char probe[LARGEST] __attribute__((aligned(64)));
	int fresh;
	struct companion *c = companion_of(guest->iov_base, &fresh);
	struct iovec v = { c->area, 0 };
	size_t n;

	if (!host_size && read_area(pid, probe) < 0)
		return -1;
	n = guest->iov_len < host_size ? guest->iov_len : host_size;
	memcpy(c->area, guest->iov_base, n);
	if (fresh && n < host_size) {
		/* A copy of another process's registers: the rest is not known. */
		uint64_t parts;
		memcpy(&parts, c->area + HEADER, sizeof parts);
		parts &= X87_SSE_AVX;
		memcpy(c->area + HEADER, &parts, sizeof parts);
	}
	v.iov_len = host_size;
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &v);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list args;
	long pid;
	void *addr, *data;

	va_start(args, request);
	pid = va_arg(args, pid_t);
	addr = va_arg(args, void *);
	data = va_arg(args, void *);
	va_end(args);

	if ((uintptr_t)addr == NT_X86_XSTATE) {
		if (request == PTRACE_GETREGSET)
			return get_registers(pid, data);
		if (request == PTRACE_SETREGSET)
			return set_registers(pid, data);
	}
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		/* The system call writes the word, the library's function returns it. */
		long word;
		if (syscall(SYS_ptrace, (long)request, pid, addr, &word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	return syscall(SYS_ptrace, (long)request, pid, addr, data);
}

static volatile sig_atomic_t io_came;
static void (*guest_handler)(int, siginfo_t *, void *);

static void io_handler(int sig, siginfo_t *info, void *context)
{
	io_came = 1;
	guest_handler(sig, info, context);
}

int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	static int (*real)(int, const struct sigaction *, struct sigaction *);
	void (*before)(int, siginfo_t *, void *) = guest_handler;
	struct sigaction ours;
	int r;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "sigaction");
	if (sig == SIGIO && act && (act->sa_flags & SA_SIGINFO) && act->sa_sigaction != io_handler) {
		ours = *act;
		guest_handler = act->sa_sigaction;
		ours.sa_sigaction = io_handler;
		act = &ours;
	}
	r = real(sig, act, old);
	/* At boot the guest saves the handler, tries something and puts it back. */
	if (sig == SIGIO && old && (old->sa_flags & SA_SIGINFO) && old->sa_sigaction == io_handler)
		old->sa_sigaction = before;
	return r;
}

int sigsuspend(const sigset_t *mask)
{
	static int (*real)(const sigset_t *);
	sigset_t io, before;
	int r = -1, why = EINTR;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "sigsuspend");
	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	sigprocmask(SIG_BLOCK, &io, &before);
	if (!io_came) {
		r = real(mask);
		why = errno;
	}
	io_came = 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = why;
	return r;
}
