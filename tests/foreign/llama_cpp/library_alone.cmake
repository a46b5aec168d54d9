# The package builds llama.cpp's common library too, whatever its options say: a normal variable
# hides the one that it keeps. Nothing of it is served.
set(LLAMA_BUILD_COMMON OFF)
