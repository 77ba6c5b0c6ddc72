/* A stand-in for libcuda.so.1, so that gpuspark/devices/cuda.py runs through the real cuda.bindings and
 * cuda-core on a machine without a GPU. Device memory is host memory between guard bytes; a launch calls
 * back into Python (stub_set_runner). It is strict where a driver is: a pointer must lie in a live
 * allocation of the current device, a cubin must be for the device's architecture, and after an error
 * that breaks a context every call fails. A call that a real driver would let corrupt memory counts as a misuse.
 *
 * Read from the environment at cuInit:
 *   STUB_DEVICES (2), STUB_VERSION (12090), STUB_ARCH (80), STUB_MEMORY (bytes per device, 1 GiB),
 *   STUB_POOLS (1: memory pools), STUB_PTX (80: newest PTX version of the JIT), STUB_MIG (0),
 *   STUB_LOG (a file that gets "pid name device" for each call),
 *   STUB_FAIL ("name:every:code": each every-th call of name, or of * for any, returns code),
 *   STUB_RUNNER (a Python module that sets the runner; imported at the first launch without one),
 *   CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, as the driver reads them. Without PCI_BUS_ID the order
 *   of the devices is reversed, as if the last one were the fastest.
 *
 * What the real driver does that this does not: streams and asynchrony, managed memory, peer access.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "result_codes.h"

typedef uint64_t Address;
enum { MAX_DEVICES = 8, GUARD = 256 };

/* ---- state ------------------------------------------------------------------------------------------- */

typedef struct Allocation { struct Allocation *next; char *memory; size_t size; int device; } Allocation;
typedef struct { int physical; size_t used, reserved; uint64_t threshold; int retained; } Device;
typedef struct { unsigned char *image; size_t size; int is_cubin; } Library;
typedef struct { Library *library; char name[1024]; } Kernel;
typedef int (*Runner)(const char *entry, unsigned grid, unsigned block, void **words, int device);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device devices[MAX_DEVICES];
static int device_count, initialized_by, broken;
static Allocation *live;
static long misuses;
static Runner runner;
static Library *launched;
static __thread Device *current;
static struct { char name[64]; long every, seen; int code; } fault;

static long number(const char *variable, long default_value) {
    const char *text = getenv(variable);
    return text && *text ? atol(text) : default_value;
}

static int index_of(Device *device) { return device ? (int)(device - devices) : -1; }

static void note(const char *name) {
    const char *path = getenv("STUB_LOG");
    if (!path) return;
    char line[128];
    int length = snprintf(line, sizeof line, "%d %s %d\n", (int)getpid(), name, index_of(current));
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0) { if (write(file, line, length) < 0) misuses++; close(file); }
}

static Result misuse(const char *problem) {
    fprintf(stderr, "stub driver: misuse: %s\n", problem);
    misuses++;
    return INVALID_VALUE;
}

/* Called first by every entry point: writes the log, plants failures, and refuses what a driver refuses. */
static Result enter(const char *name) {
    note(name);
    if (fault.every && (!strcmp(fault.name, "*") || !strcmp(fault.name, name)) && ++fault.seen % fault.every == 0) {
        if (breaks_the_context(fault.code)) broken = fault.code;
        return fault.code;
    }
    if (!initialized_by && strcmp(name, "cuDriverGetVersion")) return NOT_INITIALIZED;
    if (initialized_by && initialized_by != getpid()) return NOT_INITIALIZED;
    return broken;
}
#define ENTER(name) do { Result r_ = enter(name); if (r_) return r_; } while (0)
#define NEED_CONTEXT() do { if (!current) return INVALID_CONTEXT; } while (0)

/* ---- for the tests ----------------------------------------------------------------------------------- */

void stub_set_runner(Runner function) { runner = function; }
/* Returns the code that the kernel being launched was loaded from. */
const unsigned char *stub_launched(size_t *size) { *size = launched->size; return launched->image; }
long stub_misuses(void) { return misuses; }
void stub_fail(const char *name, long every, int code) {
    snprintf(fault.name, sizeof fault.name, "%s", name);
    fault.every = every; fault.seen = 0; fault.code = code;
}
long stub_live(int device) {
    long count = 0;
    for (Allocation *a = live; a; a = a->next) count += a->device == device;
    return count;
}
/* Returns the size of the allocation of device that address lies in, and sets its start; 0 if there is none. */
size_t stub_allocation(Address address, int device, Address *start) {
    for (Allocation *a = live; a; a = a->next) {
        *start = (Address)(a->memory + GUARD);
        if (a->device == device && address >= *start && address < *start + a->size) return a->size;
    }
    return 0;
}
static int guards_intact(Allocation *a) {
    for (int i = 0; i < GUARD; i++)
        if (a->memory[i] != (char)0xA5 || a->memory[GUARD + a->size + i] != (char)0xA5) return 0;
    return 1;
}

/* ---- start-up and devices ---------------------------------------------------------------------------- */

static void uuid_of(int physical, unsigned char *bytes) {
    static const unsigned char form[16] = {0xaa, 0xbb, 0xcc, 0, 0x11, 0x11, 0x22, 0x22,
                                           0x33, 0x33, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44};
    memcpy(bytes, form, 16);
    bytes[3] = physical;
}

/* Returns the physical device that one word of CUDA_VISIBLE_DEVICES names, or -1. */
static int physical_device(const char *word, const int *order, int count) {
    if (!strncmp(word, "GPU-", 4) || !strncmp(word, "MIG-", 4)) {
        for (int p = 0; p < count; p++) {
            unsigned char bytes[16]; char text[64];
            uuid_of(p, bytes);
            snprintf(text, sizeof text, "%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3]);
            if (!strncasecmp(word + 4, text, 8)) return p;
        }
        return -1;
    }
    char *end;
    long index = strtol(word, &end, 10);
    return *word && !*end && index >= 0 && index < count ? order[index] : -1;
}

static void find_devices(void) {
    int count = number("STUB_DEVICES", 2), order[MAX_DEVICES];
    const char *visible = getenv("CUDA_VISIBLE_DEVICES"), *by = getenv("CUDA_DEVICE_ORDER");
    int by_bus = by && !strcmp(by, "PCI_BUS_ID");
    for (int i = 0; i < count; i++) order[i] = by_bus ? i : count - 1 - i;
    device_count = 0;
    if (!visible) {
        for (int i = 0; i < count; i++) devices[device_count++].physical = order[i];
        return;
    }
    char words[256], *rest = words, *word;
    snprintf(words, sizeof words, "%s", visible);
    while ((word = strsep(&rest, ",")) && device_count < MAX_DEVICES) {
        int physical = physical_device(word, order, count);
        if (physical < 0) break;
        devices[device_count++].physical = physical;
    }
}

Result cuInit(unsigned flags) {
    const char *planted = getenv("STUB_FAIL");
    if (planted && !fault.every) {
        char name[64]; long every; int code;
        if (sscanf(planted, "%63[^:]:%ld:%d", name, &every, &code) == 3) stub_fail(name, every, code);
    }
    int first = !initialized_by;
    if (first) initialized_by = getpid();
    Result result = enter("cuInit");
    if (result) { if (first) initialized_by = 0; return result; }
    if (first) find_devices();
    if (device_count == 0) { initialized_by = 0; return NO_DEVICE; }
    return SUCCESS;
}
Result cuDriverGetVersion(int *version) {
    ENTER("cuDriverGetVersion");
    *version = number("STUB_VERSION", 12090);
    return SUCCESS;
}
Result cuDeviceGetCount(int *count) { ENTER("cuDeviceGetCount"); *count = device_count; return SUCCESS; }
Result cuDeviceGet(int *device, int ordinal) {
    ENTER("cuDeviceGet");
    if (ordinal < 0 || ordinal >= device_count) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}
Result cuDeviceGetName(char *name, int length, int device) {
    ENTER("cuDeviceGetName");
    snprintf(name, length, "Stub %d", devices[device].physical);
    return SUCCESS;
}
Result cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    ENTER("cuDeviceGetUuid");
    uuid_of(devices[device].physical, uuid);
    return SUCCESS;
}
Result cuDeviceTotalMem_v2(size_t *bytes, int device) {
    ENTER("cuDeviceTotalMem");
    *bytes = number("STUB_MEMORY", 1L << 30);
    return SUCCESS;
}
Result cuDeviceGetPCIBusId(char *text, int length, int device) {
    ENTER("cuDeviceGetPCIBusId");
    snprintf(text, length, "0000:%02x:00.0", devices[device].physical + 1);
    return SUCCESS;
}
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    ENTER("cuDeviceGetAttribute");
    long arch = number("STUB_ARCH", 80);
    switch (attribute) {
    case 20: *value = number("STUB_COMPUTE_MODE", 0); break;  /* compute mode */
    case 75: *value = arch / 10; break;                       /* compute capability, major */
    case 76: *value = arch % 10; break;                       /* minor */
    case 115: *value = number("STUB_POOLS", 1); break;        /* memory pools supported */
    default: *value = 1;
    }
    return SUCCESS;
}

/* ---- contexts: the primary context of a device is represented by the device -------------------------- */

Result cuDevicePrimaryCtxRetain(Device **context, int device) {
    ENTER("cuDevicePrimaryCtxRetain");
    devices[device].retained++;
    *context = &devices[device];
    return SUCCESS;
}
Result cuDevicePrimaryCtxRelease_v2(int device) { ENTER("cuDevicePrimaryCtxRelease"); devices[device].retained--; return SUCCESS; }
Result cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    ENTER("cuDevicePrimaryCtxGetState");
    *flags = 0; *active = devices[device].retained > 0;
    return SUCCESS;
}
Result cuCtxGetCurrent(Device **context) { ENTER("cuCtxGetCurrent"); *context = current; return SUCCESS; }
Result cuCtxSetCurrent(Device *context) { ENTER("cuCtxSetCurrent"); current = context; return SUCCESS; }
Result cuCtxPushCurrent_v2(Device *context) { return cuCtxSetCurrent(context); }
Result cuCtxPopCurrent_v2(Device **context) { ENTER("cuCtxPopCurrent"); *context = current; current = NULL; return SUCCESS; }
Result cuCtxGetDevice(int *device) { ENTER("cuCtxGetDevice"); NEED_CONTEXT(); *device = index_of(current); return SUCCESS; }
Result cuCtxGetId(Device *context, unsigned long long *id) {
    ENTER("cuCtxGetId");
    *id = 1 + index_of(context ? context : current);
    return SUCCESS;
}
Result cuCtxGetApiVersion(Device *context, unsigned *version) { ENTER("cuCtxGetApiVersion"); *version = 3020; return SUCCESS; }
Result cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = 0; return SUCCESS; }

/* A synchronisation returns unused memory to the device, up to the release threshold. */
static void release_unused(Device *device) { if (device->reserved > device->used && !device->threshold) device->reserved = device->used; }
Result cuCtxSynchronize(void) { ENTER("cuCtxSynchronize"); NEED_CONTEXT(); release_unused(current); return SUCCESS; }
Result cuStreamSynchronize(void *stream) { ENTER("cuStreamSynchronize"); NEED_CONTEXT(); release_unused(current); return SUCCESS; }
Result cuStreamIsCapturing(void *stream, int *status) { ENTER("cuStreamIsCapturing"); *status = 0; return SUCCESS; }
Result cuStreamGetCtx(void *stream, Device **context) { ENTER("cuStreamGetCtx"); *context = current; return SUCCESS; }

/* ---- memory ------------------------------------------------------------------------------------------ */

static Result allocate(Address *address, size_t size) {
    NEED_CONTEXT();
    if (size == 0) return INVALID_VALUE;
    if (current->used + size > (size_t)number("STUB_MEMORY", 1L << 30)) return OUT_OF_MEMORY;
    Allocation *a = malloc(sizeof *a);
    a->memory = aligned_alloc(256, (size + 2 * GUARD + 255) / 256 * 256);
    a->size = size;
    a->device = index_of(current);
    memset(a->memory, 0xA5, GUARD);
    memset(a->memory + GUARD, 0xCD, size);
    memset(a->memory + GUARD + size, 0xA5, GUARD);
    *address = (Address)(a->memory + GUARD);
    pthread_mutex_lock(&lock);
    a->next = live;
    live = a;
    current->used += size;
    if (current->used > current->reserved) current->reserved = current->used;
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}
static Result release(Address address) {
    NEED_CONTEXT();
    pthread_mutex_lock(&lock);
    Allocation **link = &live;
    while (*link && (Address)((*link)->memory + GUARD) != address) link = &(*link)->next;
    Allocation *a = *link;
    if (a) { *link = a->next; devices[a->device].used -= a->size; }
    pthread_mutex_unlock(&lock);
    if (!a) return misuse("free of an address that is not allocated");
    if (a->device != index_of(current)) misuse("free on another device than the memory's");
    if (!guards_intact(a)) misuse("bytes beside an allocation were written");
    free(a->memory);
    free(a);
    return SUCCESS;
}
Result cuMemAlloc_v2(Address *address, size_t size) { ENTER("cuMemAlloc"); return allocate(address, size); }
Result cuMemFree_v2(Address address) {
    ENTER("cuMemFree");
    Result result = address ? release(address) : SUCCESS;
    if (!result && current) current->reserved = current->used;
    return result;
}
Result cuMemAllocAsync(Address *address, size_t size, void *stream) { ENTER("cuMemAllocAsync"); return allocate(address, size); }
Result cuMemAllocFromPoolAsync(Address *address, size_t size, Device *pool, void *stream) {
    ENTER("cuMemAllocFromPoolAsync");
    if (pool != current) return misuse("allocation from another device's pool");
    return allocate(address, size);
}
Result cuMemFreeAsync(Address address, void *stream) { ENTER("cuMemFreeAsync"); return release(address); }
Result cuMemGetInfo_v2(size_t *available, size_t *total) {
    ENTER("cuMemGetInfo");
    NEED_CONTEXT();
    *total = number("STUB_MEMORY", 1L << 30);
    *available = *total - current->reserved;
    return SUCCESS;
}
static Result on_this_device(Address address, size_t size, const char *problem) {
    NEED_CONTEXT();
    Address start;
    size_t whole = stub_allocation(address, index_of(current), &start);
    return start + whole >= address + size && whole ? SUCCESS : misuse(problem);
}
Result cuMemcpyHtoD_v2(Address to, const void *from, size_t size) {
    ENTER("cuMemcpyHtoD");
    Result result = on_this_device(to, size, "copy to memory that is not this device's");
    if (!result) memcpy((void *)to, from, size);
    return result;
}
Result cuMemcpyDtoH_v2(void *to, Address from, size_t size) {
    ENTER("cuMemcpyDtoH");
    Result result = on_this_device(from, size, "copy from memory that is not this device's");
    if (!result) memcpy(to, (void *)from, size);
    return result;
}

/* Each device has one pool, which is represented by the device. */
static Result pool_of(const char *name, Device **pool, int device) { ENTER(name); *pool = &devices[device]; return SUCCESS; }
Result cuDeviceGetMemPool(Device **pool, int device) { return pool_of("cuDeviceGetMemPool", pool, device); }
Result cuDeviceGetDefaultMemPool(Device **pool, int device) { return pool_of("cuDeviceGetDefaultMemPool", pool, device); }
Result cuMemPoolTrimTo(Device *pool, size_t keep) {
    ENTER("cuMemPoolTrimTo");
    size_t least = pool->used > keep ? pool->used : keep;
    if (pool->reserved > least) pool->reserved = least;
    return SUCCESS;
}
Result cuMemPoolGetAttribute(Device *pool, int attribute, uint64_t *value) {
    ENTER("cuMemPoolGetAttribute");
    switch (attribute) {
    case 4: *value = pool->threshold; break;
    case 5: case 6: *value = pool->reserved; break;
    case 7: case 8: *value = pool->used; break;
    default: return INVALID_VALUE;
    }
    return SUCCESS;
}
Result cuMemPoolSetAttribute(Device *pool, int attribute, uint64_t *value) {
    ENTER("cuMemPoolSetAttribute");
    if (attribute != 4) return INVALID_VALUE;
    pool->threshold = *value;
    return SUCCESS;
}
Result cuMemPoolSetAccess(Device *pool, const void *map, size_t count) { ENTER("cuMemPoolSetAccess"); return SUCCESS; }
Result cuMemPoolGetAccess(int *flags, Device *pool, void *location) { ENTER("cuMemPoolGetAccess"); *flags = 3; return SUCCESS; }

/* ---- programs ---------------------------------------------------------------------------------------- */

static Result check_cubin(const unsigned char *image, size_t *size) {
    uint64_t sections; uint32_t flags; uint16_t entry_size, entries;
    memcpy(&sections, image + 40, 8);
    memcpy(&flags, image + 48, 4);
    memcpy(&entry_size, image + 58, 2);
    memcpy(&entries, image + 60, 2);
    *size = sections + (size_t)entry_size * entries;
    unsigned arch = number("STUB_ARCH", 80);
    return (flags & 0xff) == arch || (flags >> 8 & 0xff) == arch ? SUCCESS : NO_BINARY_FOR_GPU;
}
static Result check_ptx(const char *text, size_t *size) {
    int major, minor;
    const char *version = strstr(text, ".version");
    if (!version || sscanf(version, ".version %d.%d", &major, &minor) != 2) return INVALID_IMAGE;
    *size = strlen(text);
    return major * 10 + minor <= number("STUB_PTX", 80) ? SUCCESS : UNSUPPORTED_PTX;
}
Result cuLibraryLoadData(Library **library, const void *code, void *jit, void *jit_values, unsigned jit_count,
                         void *options, void *values, unsigned count) {
    int is_cubin = !memcmp(code, "\177ELF", 4);
    ENTER(is_cubin ? "cuLibraryLoadData:cubin" : "cuLibraryLoadData:ptx");
    size_t size;
    Result result = is_cubin ? check_cubin(code, &size) : check_ptx(code, &size);
    if (result) return result;
    *library = malloc(sizeof **library);
    (*library)->image = malloc(size);
    memcpy((*library)->image, code, size);
    (*library)->size = size;
    (*library)->is_cubin = is_cubin;
    return SUCCESS;
}
Result cuLibraryUnload(Library *library) { ENTER("cuLibraryUnload"); free(library->image); free(library); return SUCCESS; }
Result cuLibraryGetKernel(Kernel **kernel, Library *library, const char *name) {
    ENTER("cuLibraryGetKernel");
    if (!memmem(library->image, library->size, name, strlen(name))) return NOT_FOUND;
    *kernel = malloc(sizeof **kernel);
    (*kernel)->library = library;
    snprintf((*kernel)->name, sizeof (*kernel)->name, "%s", name);
    return SUCCESS;
}

/* Imports the module that STUB_RUNNER names, with the Python interpreter of this process. */
static void import_runner(void) {
    const char *module = getenv("STUB_RUNNER");
    int (*enter_python)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    void (*leave_python)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "PyGILState_Release");
    void *(*import)(const char *) = (void *(*)(const char *))dlsym(RTLD_DEFAULT, "PyImport_ImportModule");
    void (*print)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "PyErr_Print");
    if (!module || !enter_python || !leave_python || !import || !print) return;
    int held = enter_python();
    if (!import(module)) print();
    leave_python(held);
}
static Result run(Kernel *kernel, unsigned grid, unsigned block, void **words) {
    NEED_CONTEXT();
    if (grid == 0 || block == 0 || block > 1024) return INVALID_VALUE;
    if (!runner) import_runner();
    if (!runner) return misuse("a launch before stub_set_runner");
    launched = kernel->library;
    Result result = runner(kernel->name, grid, block, words, index_of(current));
    if (breaks_the_context(result)) broken = result;
    return SUCCESS;  /* an error of a kernel is returned by the calls after it */
}
typedef struct { unsigned grid[3], block[3], shared; void *stream, *attributes; unsigned attribute_count; } LaunchConfig;
Result cuLaunchKernelEx(const LaunchConfig *config, Kernel *kernel, void **words, void **extra) {
    ENTER("cuLaunchKernelEx");
    return run(kernel, config->grid[0], config->block[0], words);
}
Result cuLaunchKernel(Kernel *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **words, void **extra) {
    ENTER("cuLaunchKernel");
    return run(kernel, gx, bx, words);
}

/* ---- how the bindings look up these functions -------------------------------------------------------- */

Result cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    static void *self;
    char newer[128];
    Dl_info here;
    if (!self && dladdr((void *)cuInit, &here)) self = dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    snprintf(newer, sizeof newer, "%s_v2", name);
    *function = dlsym(self, newer);
    if (!*function) *function = dlsym(self, name);
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
