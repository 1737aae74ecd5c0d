/* A shared library with symbols of every kind, and two versions of one. */
static int hidden_one(int x) { return x * 3 + 1; }
int first(int x) { return hidden_one(x) ^ 0x1234; }
int second_old(int x) { return x - 99; }
int second_new(int x) { return x + 77; }
__attribute__((weak)) int weak_one(int x) { return x / 7; }
extern int also_first(int x) __attribute__((alias("first")));
int elsewhere(int x);
int counter = 5;
int zeros[100];
int calls_it(int x) { return elsewhere(x) + counter; }
__asm__(".symver second_old, second@V1\n.symver second_new, second@@V2");
