// Served to debuggers: two threads with names, and a loop that calls, computes, and changes a variable. With an argument it crashes.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct node {
    int value;
    struct node *next;
};

static volatile int answer;
static volatile long turns;
static pthread_barrier_t named;

static __attribute__((noinline)) int square_of(int number) {
    int product = number * number;
    return product;
}

static __attribute__((noinline)) void take_step(int number) {
    int own = square_of(number);
    answer = own;
    turns++;
}

static void *helper(void *name) {
    pthread_setname_np(pthread_self(), name);
    pthread_barrier_wait(&named);
    for (;;) {
        pause();
    }
}

static __attribute__((noinline)) int sum(struct node *list) {
    int total = 0;
    while (list) {
        total += list->value;
        list = list->next;
    }
    return total;
}

int main(int argc, char **argv) {
    pthread_t thread;
    pthread_barrier_init(&named, NULL, 3);
    pthread_create(&thread, NULL, helper, "left");
    pthread_create(&thread, NULL, helper, "right");
    pthread_barrier_wait(&named);
    if (argc > 1) {
        usleep(100000);
        struct node last = {2, (struct node *)strtoul(argv[1], NULL, 0)}, first = {1, &last};
        return sum(&first);
    }
    for (int number = 0;; number = (number + 1) % 100) {
        take_step(number);
        if (number % 50 == 0) {
            printf("turn %ld\n", turns);
            fflush(stdout);
        }
        usleep(10000);
    }
}
