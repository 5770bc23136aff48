/*
 * wav.h: WAV files, as far as a filter needs them: PCM of 8, 16, 24 and 32 bits,
 * and floats of 32 and 64 bits, with any number of channels.
 *
 * Samples are doubles from -1 to 1 here (floats may be louder), frame after
 * frame: the first sample of each channel, then the second of each.
 */
#ifndef WAV_H
#define WAV_H

#include "tigerflow.h"

/* The longest `fmt ` chunk that there is: WAVE_FORMAT_EXTENSIBLE. */
#define WAV_FORMAT_BYTES 40

typedef struct wav {
    unsigned channels;
    unsigned rate; /* Frames a second. */
    unsigned bits; /* Of a sample. */
    bool is_float;
    unsigned frame_bytes;
    uint64_t frames;

    /* The `fmt ` chunk, which the output keeps. */
    unsigned char format[WAV_FORMAT_BYTES];
    unsigned format_bytes;
} wav;

/* Reads the header, up to the first sample. */
tf_error *wav_read_header(FILE *file, wav *header);

/* Writes a header for `frames` frames, which must follow; `wav_finish` then. */
tf_error *wav_write_header(FILE *file, const wav *header);

/* Writes what ends the file. */
void wav_finish(FILE *file, const wav *header);

/* The same with one channel. */
wav wav_mono(const wav *header);

/* Makes doubles of `count` samples as they stand in the file. */
void wav_decode(const wav *header, const unsigned char *bytes, double *samples, size_t count);

/* Makes bytes of doubles. What is too loud for an integer is clipped. */
void wav_encode(const wav *header, const double *samples, unsigned char *bytes, size_t count);

#endif
