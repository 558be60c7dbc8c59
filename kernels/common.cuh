// What kernels share. Compilers get this text in place of the #include.

#ifndef CUDA_ON_HOST
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) unsigned char name##_bytes[]; type *name = (type *)name##_bytes
#endif

// Index of the thread along an axis of the whole grid.
#define THREAD_X ((int)(blockIdx.x * blockDim.x + threadIdx.x))
#define THREAD_Y ((int)(blockIdx.y * blockDim.y + threadIdx.y))
#define THREAD_Z ((int)(blockIdx.z * blockDim.z + threadIdx.z))
