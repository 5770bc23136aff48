/*
 * Makes the samples beside it, of nothing but arithmetic:
 *
 *     cc -o /tmp/make samples/make.c -lm && cd samples && /tmp/make
 */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define RATE 8000
#define TAU 6.283185307179586

static void put(FILE *file, unsigned bytes, uint64_t value)
{
    for (; bytes > 0; bytes--, value >>= 8)
        putc((int)(value & 0xFF), file);
}

/* What sounds: amplitude at a time, in seconds, on a channel. */
typedef double sound(double time, unsigned channel);

/* A plucked string, far away. */
static double string(double time, unsigned channel)
{
    double level = 0;
    (void)channel;
    for (int partial = 1; partial <= 5; partial++)
        level += sin(TAU * 196 * partial * time) / partial;
    return 0.02 * level * exp(-6 * time);
}

/* Two whistles, one on each side, of which one is louder. */
static double whistles(double time, unsigned channel)
{
    return channel == 0 ? 0.7 * sin(TAU * 880 * time) : 0.1 * sin(TAU * 1318.5 * time);
}

/* Something like steps: short bursts of noise, the same each time. */
static double steps(double time, unsigned channel)
{
    static uint32_t state = 1;
    (void)channel;
    state = state * 1664525 + 1013904223;
    return 0.4 * ((double)(state >> 8) / (1 << 23) - 1) * exp(-60 * fmod(time, 0.125));
}

/* A chord that is too loud: floats may be. */
static double chord(double time, unsigned channel)
{
    (void)channel;
    return 0.6 * (sin(TAU * 262 * time) + sin(TAU * 330 * time) + sin(TAU * 392 * time));
}

static double silence(double time, unsigned channel)
{
    (void)time;
    (void)channel;
    return 0;
}

static void make(const char *name, sound *sound, double seconds, unsigned channels, unsigned bits,
                 int is_float)
{
    FILE *file = fopen(name, "wb");
    const uint32_t frames = (uint32_t)(seconds * RATE);
    const uint32_t frame_bytes = channels * bits / 8;

    fputs("RIFF", file);
    put(file, 4, 36 + (is_float ? 12 : 0) + frames * frame_bytes + frames * frame_bytes % 2);
    fputs("WAVEfmt ", file);
    put(file, 4, 16);
    put(file, 2, is_float ? 3 : 1);
    put(file, 2, channels);
    put(file, 4, RATE);
    put(file, 4, RATE * frame_bytes);
    put(file, 2, frame_bytes);
    put(file, 2, bits);
    if (is_float) {
        fputs("fact", file);
        put(file, 4, 4);
        put(file, 4, frames);
    }
    fputs("data", file);
    put(file, 4, frames * frame_bytes);
    for (uint32_t frame = 0; frame < frames; frame++) {
        for (unsigned channel = 0; channel < channels; channel++) {
            const double level = sound((double)frame / RATE, channel);
            if (is_float) {
                const float sample = (float)level;
                uint32_t raw;
                memcpy(&raw, &sample, sizeof raw);
                put(file, 4, raw);
            } else {
                const int64_t sample = (int64_t)floor(level * ldexp(1, (int)bits - 1));
                put(file, bits / 8, (uint64_t)(sample + (bits == 8 ? 128 : 0)));
            }
        }
    }
    if (frames * frame_bytes % 2 != 0)
        putc(0, file);
    fclose(file);
}

int main(void)
{
    make("string-16bit.wav", string, 0.5, 1, 16, 0);
    make("whistles-stereo-24bit.wav", whistles, 0.2, 2, 24, 0);
    make("steps-8bit.wav", steps, 0.5, 1, 8, 0);
    make("chord-float.wav", chord, 0.2, 1, 32, 1);
    make("whistles-stereo-32bit.wav", whistles, 0.1, 2, 32, 0);
    make("silence-16bit.wav", silence, 0.1, 1, 16, 0);
    return 0;
}
