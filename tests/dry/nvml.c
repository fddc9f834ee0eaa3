/* A stand-in for the driver's management library (NVML): as many devices as STAND_IN_GPUS says.

   Device n is GPU-0000...n, has STAND_IN_GIB GiB (80) of which n + 1 are in use, is (40 + 5 n) % busy, lies beside the CPUs c
   with c % 2 == n % 2, and runs no process. No device is divided (MIG). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int result;
enum { OK = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6 };
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned int gpu, memory; } rates;

static char handles[64];
static unsigned int number(const char *variable, unsigned int otherwise) {
    const char *text = getenv(variable);
    return text ? (unsigned int)atoi(text) : otherwise;
}
static unsigned int count(void) { return number("STAND_IN_GPUS", 0); }
static unsigned int index_of(void *device) { return (unsigned int)((char *)device - handles); }
static void name_of(unsigned int index, char *out, unsigned int length) {
    snprintf(out, length, "GPU-00000000-0000-0000-0000-%012u", index);
}

result nvmlInit(void) { return OK; }
result nvmlInit_v2(void) { return OK; }
result nvmlInitWithFlags(unsigned int flags) { (void)flags; return OK; }
result nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(result code) { return code == OK ? "success" : "stand-in: no such thing"; }
result nvmlSystemGetDriverVersion(char *out, unsigned int length) { snprintf(out, length, "580.0"); return OK; }

result nvmlDeviceGetCount_v2(unsigned int *out) { *out = count(); return OK; }
result nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **out) {
    if (index >= count()) return INVALID;
    *out = handles + index;
    return OK;
}
result nvmlDeviceGetHandleByUUID(const char *uuid, void **out) {
    char known[80];
    for (unsigned int index = 0; index < count(); index++) {
        name_of(index, known, sizeof known);
        if (strcmp(known, uuid) == 0) { *out = handles + index; return OK; }
    }
    return NOT_FOUND;
}
result nvmlDeviceGetUUID(void *device, char *out, unsigned int length) {
    name_of(index_of(device), out, length);
    return OK;
}
result nvmlDeviceGetIndex(void *device, unsigned int *out) { *out = index_of(device); return OK; }
result nvmlDeviceGetName(void *device, char *out, unsigned int length) {
    (void)device;
    snprintf(out, length, "stand-in");
    return OK;
}
result nvmlDeviceIsMigDeviceHandle(void *device, unsigned int *out) { (void)device; *out = 0; return OK; }
result nvmlDeviceGetMigMode(void *device, unsigned int *now, unsigned int *next) {
    (void)device; (void)now; (void)next;
    return UNSUPPORTED;
}
result nvmlDeviceGetMemoryInfo(void *device, memory *out) {
    out->total = (unsigned long long)number("STAND_IN_GIB", 80) << 30;
    out->used = (index_of(device) + 1ULL) << 30;
    out->free = out->total - out->used;
    return OK;
}
result nvmlDeviceGetUtilizationRates(void *device, rates *out) {
    out->gpu = 40 + 5 * index_of(device);
    out->memory = 0;
    return OK;
}
result nvmlDeviceGetCpuAffinity(void *device, unsigned int words, unsigned long *out) {
    for (unsigned int word = 0; word < words; word++)
        out[word] = index_of(device) % 2 ? 0xAAAAAAAAAAAAAAAAUL : 0x5555555555555555UL;
    return OK;
}
result nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned int *found, void *out) {
    (void)device; (void)out;
    *found = 0;
    return OK;
}
result nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *found, void *out) {
    return nvmlDeviceGetComputeRunningProcesses_v2(device, found, out);
}
