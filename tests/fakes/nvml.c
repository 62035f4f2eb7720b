/* A stand-in for libnvidia-ml.so.1: the functions that rtx50_autoload.evidence.nvml_reading calls, and no driver.
 *
 * Struct layouts, signatures and return codes are those of nvml.h. What it answers comes from environment variables:
 *
 *   FAKE_NVML_COUNT            number of GPUs
 *   FAKE_NVML_NAME_<i>         name of GPU i                       (default "Fake GPU")
 *   FAKE_NVML_CAPABILITY_<i>   capability                          (default "12.0")
 *   FAKE_NVML_UUID_<i>         UUID                                (default: none, the call fails)
 *   FAKE_NVML_BUS_<i>          PCI bus id                          (default: none, the call fails)
 *   FAKE_NVML_MIG_<i>          MIG mode is on; "gi/ci/uuid" or "-" for an empty slot, separated by blanks
 *   FAKE_NVML_DRIVER           driver version                      (default "580.0")
 *   FAKE_NVML_ERROR_<function>[_<i>]   the code that the function returns (for GPU i)
 *   FAKE_NVML_HANG             nvmlInitWithFlags never returns
 *   FAKE_NVML_LOG              file to which each call's name is appended
 *
 * As the driver's own, it leaves a thread behind that nvmlShutdown does not end.
 *
 * Compiled with -DWITHOUT_MIG it lacks the MIG functions, as drivers before 450 do.
 */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

/* A handle is 1 + the GPU's index, and for a MIG instance 1000 * (1 + slot) more. */
typedef uintptr_t handle_t;
enum { SLOT = 1000 };

typedef struct {
  char bus_id_legacy[16];
  unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
} pci_info_t;

static int gpu_of(handle_t handle) { return (int)(handle % SLOT) - 1; }
static int slot_of(handle_t handle) { return (int)(handle / SLOT) - 1; }

static const char *setting(const char *name, int gpu) {
  char variable[128];
  if (gpu < 0)
    snprintf(variable, sizeof variable, "FAKE_NVML_%s", name);
  else
    snprintf(variable, sizeof variable, "FAKE_NVML_%s_%d", name, gpu);
  return getenv(variable);
}

static int count(void) {
  const char *text = setting("COUNT", -1);
  return text ? atoi(text) : 0;
}

/* Logs the call and returns the code that the test wants of it. */
static int enter(const char *function, int gpu) {
  const char *path = setting("LOG", -1);
  if (path) {
    FILE *log = fopen(path, "a");
    if (log) {
      fprintf(log, "%s\n", function);
      fclose(log);
    }
  }
  char name[128];
  snprintf(name, sizeof name, "ERROR_%s", function);
  const char *code = setting(name, -1);
  if (!code && gpu >= 0) code = setting(name, gpu);
  return code ? atoi(code) : SUCCESS;
}

static int copy(char *to, unsigned size, const char *from) {
  if (!from) return NOT_SUPPORTED;
  if (strlen(from) >= size) return INSUFFICIENT_SIZE;
  strcpy(to, from);
  return SUCCESS;
}

static void *stay(void *nothing) {
  for (;;) pause();
  return nothing;
}

int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  pthread_t thread;
  pthread_create(&thread, NULL, stay, NULL);
  int code = enter(__func__, -1);
  while (setting("HANG", -1)) pause();
  return code;
}

int nvmlShutdown(void) { return enter(__func__, -1); }

const char *nvmlErrorString(int code) {
  (void)code;
  return "an error of a later driver";
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
  int code = enter(__func__, -1);
  const char *driver = setting("DRIVER", -1);
  return code ? code : copy(version, size, driver ? driver : "580.0");
}

int nvmlDeviceGetCount_v2(unsigned *out) {
  *out = (unsigned)count();
  return enter(__func__, -1);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle_t *out) {
  int code = enter(__func__, (int)index);
  if (code) return code;
  if ((int)index >= count()) return INVALID_ARGUMENT;
  *out = index + 1;
  return SUCCESS;
}

int nvmlDeviceGetName(handle_t handle, char *name, unsigned size) {
  int code = enter(__func__, gpu_of(handle));
  const char *given = setting("NAME", gpu_of(handle));
  return code ? code : copy(name, size, given ? given : "Fake GPU");
}

int nvmlDeviceGetCudaComputeCapability(handle_t handle, int *major, int *minor) {
  int code = enter(__func__, gpu_of(handle));
  const char *given = setting("CAPABILITY", gpu_of(handle));
  if (code) return code;
  return sscanf(given ? given : "12.0", "%d.%d", major, minor) == 2 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetPciInfo_v3(handle_t handle, pci_info_t *out) {
  int code = enter(__func__, gpu_of(handle));
  memset(out, 0, sizeof *out);
  return code ? code : copy(out->bus_id, sizeof out->bus_id, setting("BUS", gpu_of(handle)));
}

/* Finds the text of a slot; returns 0 past the last one. */
static int slot_text(int gpu, int slot, char text[128]) {
  const char *slots = setting("MIG", gpu);
  for (int i = 0, used; slots && sscanf(slots, "%127s%n", text, &used) == 1; i++, slots += used)
    if (i == slot) return 1;
  return 0;
}

int nvmlDeviceGetUUID(handle_t handle, char *uuid, unsigned size) {
  int code = enter(__func__, gpu_of(handle));
  if (code) return code;
  if (slot_of(handle) < 0) return copy(uuid, size, setting("UUID", gpu_of(handle)));
  char text[128], part[128];
  if (!slot_text(gpu_of(handle), slot_of(handle), text)) return NOT_FOUND;
  return sscanf(text, "%*d/%*d/%127s", part) == 1 ? copy(uuid, size, part) : NOT_FOUND;
}

#ifndef WITHOUT_MIG
int nvmlDeviceGetMigMode(handle_t handle, unsigned *current, unsigned *pending) {
  int code = enter(__func__, gpu_of(handle));
  *current = *pending = setting("MIG", gpu_of(handle)) != NULL;
  return code;
}

int nvmlDeviceGetMaxMigDeviceCount(handle_t handle, unsigned *out) {
  char text[128];
  for (*out = 0; slot_text(gpu_of(handle), (int)*out, text); ++*out) continue;
  return enter(__func__, gpu_of(handle));
}

int nvmlDeviceGetMigDeviceHandleByIndex(handle_t handle, unsigned slot, handle_t *out) {
  char text[128];
  int code = enter(__func__, gpu_of(handle));
  if (code) return code;
  if (!slot_text(gpu_of(handle), (int)slot, text) || !strcmp(text, "-")) return NOT_FOUND;
  *out = handle + SLOT * (slot + 1);
  return SUCCESS;
}

static int instance_ids(const char *function, handle_t handle, unsigned *gi, unsigned *ci) {
  char text[128];
  int code = enter(function, gpu_of(handle));
  if (code) return code;
  return slot_text(gpu_of(handle), slot_of(handle), text) && sscanf(text, "%u/%u/", gi, ci) == 2 ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetGpuInstanceId(handle_t handle, unsigned *out) {
  unsigned ci;
  return instance_ids(__func__, handle, out, &ci);
}

int nvmlDeviceGetComputeInstanceId(handle_t handle, unsigned *out) {
  unsigned gi;
  return instance_ids(__func__, handle, &gi, out);
}
#endif
