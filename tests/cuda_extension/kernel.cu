#ifdef OTHER_TORCH
extern "C" void of_another_torch();
#else
static void of_another_torch() {}
#endif

__global__ void twice(float *x) { x[threadIdx.x] *= 2.0f; }
extern "C" void launch(float *x) { of_another_torch(); twice<<<1, 32>>>(x); }
