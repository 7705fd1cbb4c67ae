/* Marks for memcheck: what it is told is undefined may reach no branch and no address. */
#include <stddef.h>
#include <stdlib.h>
#include <valgrind/memcheck.h>

int running(void) { return (int)RUNNING_ON_VALGRIND; }

void hide(const void *address, size_t bytes) { (void)VALGRIND_MAKE_MEM_UNDEFINED(address, bytes); }

void reveal(const void *address, size_t bytes) { (void)VALGRIND_MAKE_MEM_DEFINED(address, bytes); }

/* How many bytes have an undefined bit. */
size_t hidden(const void *address, size_t bytes) {
    unsigned char *bits = malloc(bytes ? bytes : 1);
    size_t count = 0;
    if (VALGRIND_GET_VBITS(address, bits, bytes) == 1)
        for (size_t i = 0; i < bytes; i++) count += bits[i] != 0;
    free(bits);
    return count;
}
