#include "wav.h"

#include <math.h>
#include <string.h>

/* Format tags of the `fmt ` chunk. */
enum { TAG_PCM = 1, TAG_FLOAT = 3, TAG_EXTENSIBLE = 0xFFFE };

/* How long a program says a file is that it writes to a pipe. */
#define UNKNOWN_SIZE UINT32_MAX

/* A chunk begins with four letters and the number of bytes that follow. */
#define CHUNK_HEADER_BYTES 8

/* ---------------------------------------------------------------- Little ends */

static uint64_t load(const unsigned char *bytes, unsigned count)
{
    uint64_t value = 0;
    while (count-- > 0)
        value = value << 8 | bytes[count];
    return value;
}

static void store(unsigned char *bytes, unsigned count, uint64_t value)
{
    for (unsigned i = 0; i < count; i++, value >>= 8)
        bytes[i] = (unsigned char)value;
}

/* --------------------------------------------------------------------- Header */

/* The bytes after the last frame: chunks have an even length. */
static unsigned padding(const wav *header)
{
    return header->frames * header->frame_bytes % 2 != 0;
}

static const char *codec(unsigned tag)
{
    switch (tag) {
    case 0x0002: return "ADPCM";
    case 0x0006: return "A-law";
    case 0x0007: return "mu-law";
    case 0x0011: return "IMA ADPCM";
    case 0x0031: return "GSM 6.10";
    case 0x0055: return "MP3";
    default: return tf_format("format %u", tag);
    }
}

static tf_error *parse_format(wav *header)
{
    unsigned tag = (unsigned)load(header->format, 2);

    header->channels = (unsigned)load(header->format + 2, 2);
    header->rate = (unsigned)load(header->format + 4, 4);
    header->frame_bytes = (unsigned)load(header->format + 12, 2);
    header->bits = (unsigned)load(header->format + 14, 2);
    if (tag == TAG_EXTENSIBLE && header->format_bytes == WAV_FORMAT_BYTES)
        tag = (unsigned)load(header->format + 24, 2);

    if (tag != TAG_PCM && tag != TAG_FLOAT)
        return tf_failed("UnsupportedAudio", "the sound is compressed (%s): convert it to PCM first",
                         codec(tag));
    header->is_float = tag == TAG_FLOAT;
    if (header->is_float ? header->bits != 32 && header->bits != 64
                         : header->bits % 8 != 0 || header->bits == 0 || header->bits > 32)
        return tf_failed("UnsupportedAudio", "samples of %u bits as %s are not supported",
                         header->bits, header->is_float ? "floats" : "integers");
    if (header->channels == 0)
        return tf_failed("BrokenAudio", "the header says that there are 0 channels");
    if (header->frame_bytes != header->channels * header->bits / 8)
        return tf_failed("BrokenAudio",
                         "the header says that %u channels of %u bits take %u bytes", header->channels,
                         header->bits, header->frame_bytes);
    return NULL;
}

/* Goes over bytes that are of no interest. `fseek` would go over the end, too. */
static bool skip(FILE *file, uint64_t count)
{
    while (count > 0 && getc(file) != EOF)
        count--;
    return count == 0;
}

tf_error *wav_read_header(FILE *file, wav *header)
{
    unsigned char bytes[12];
    uint32_t size;

    memset(header, 0, sizeof *header);
    if (fread(bytes, 1, 12, file) < 12)
        return tf_failed("NotWav", "the file is too short to be a WAV file");
    if (memcmp(bytes, "RF64", 4) == 0 || memcmp(bytes, "RIFX", 4) == 0)
        return tf_failed("UnsupportedAudio", "%.4s, a kind of WAV file, is not supported", bytes);
    if (memcmp(bytes, "RIFF", 4) != 0 || memcmp(bytes + 8, "WAVE", 4) != 0)
        return tf_failed("NotWav", "the file is no WAV file: it does not begin with RIFF and WAVE");

    while (fread(bytes, 1, CHUNK_HEADER_BYTES, file) == CHUNK_HEADER_BYTES) {
        size = (uint32_t)load(bytes + 4, 4);
        if (memcmp(bytes, "data", 4) == 0) {
            if (header->format_bytes == 0)
                return tf_failed("BrokenAudio", "the samples stand before their format");
            if (size != UNKNOWN_SIZE && size % header->frame_bytes != 0)
                return tf_failed("BrokenAudio", "%u bytes of samples are no whole frames of %u bytes",
                                 (unsigned)size, header->frame_bytes);
            header->frames = size == UNKNOWN_SIZE ? UINT64_MAX : size / header->frame_bytes;
            return NULL;
        }
        if (memcmp(bytes, "fmt ", 4) == 0) {
            header->format_bytes = size < WAV_FORMAT_BYTES ? size : WAV_FORMAT_BYTES;
            if (size < 16)
                return tf_failed("BrokenAudio", "the format takes %u bytes, and needs 16",
                                 (unsigned)size);
            if (fread(header->format, 1, header->format_bytes, file) < header->format_bytes)
                break;
            TF_TRY(parse_format(header));
            size -= header->format_bytes;
        }
        if (!skip(file, (uint64_t)size + size % 2))
            break;
    }
    return tf_failed("BrokenAudio", "the file ends before its samples");
}

tf_error *wav_write_header(FILE *file, const wav *header)
{
    const unsigned fact_bytes = header->is_float ? CHUNK_HEADER_BYTES + 4 : 0;
    const uint64_t data_bytes = header->frames * header->frame_bytes;
    const uint64_t riff_bytes = 4 + CHUNK_HEADER_BYTES + header->format_bytes + fact_bytes +
                                CHUNK_HEADER_BYTES + data_bytes + padding(header);
    unsigned char sizes[4];

    if (riff_bytes >= UNKNOWN_SIZE)
        return tf_failed("UnsupportedAudio", "the output would be larger than 4 GiB");

    fwrite("RIFF", 1, 4, file);
    store(sizes, 4, riff_bytes);
    fwrite(sizes, 1, 4, file);
    fwrite("WAVEfmt ", 1, 8, file);
    store(sizes, 4, header->format_bytes);
    fwrite(sizes, 1, 4, file);
    fwrite(header->format, 1, header->format_bytes, file);
    if (header->is_float) { /* How many frames: all but PCM says it. */
        fwrite("fact\4\0\0\0", 1, 8, file);
        store(sizes, 4, header->frames);
        fwrite(sizes, 1, 4, file);
    }
    fwrite("data", 1, 4, file);
    store(sizes, 4, data_bytes);
    fwrite(sizes, 1, 4, file);
    return NULL;
}

void wav_finish(FILE *file, const wav *header)
{
    if (padding(header))
        putc(0, file);
}

wav wav_mono(const wav *header)
{
    wav mono = *header;

    mono.channels = 1;
    mono.frame_bytes = header->bits / 8;
    store(mono.format + 2, 2, mono.channels);
    store(mono.format + 8, 4, (uint64_t)mono.rate * mono.frame_bytes);
    store(mono.format + 12, 2, mono.frame_bytes);
    if (mono.format_bytes == WAV_FORMAT_BYTES)
        store(mono.format + 20, 4, 4); /* The speaker in the middle. */
    return mono;
}

/* -------------------------------------------------------------------- Samples */

void wav_decode(const wav *header, const unsigned char *bytes, double *samples, size_t count)
{
    const unsigned size = header->bits / 8;

    for (size_t i = 0; i < count; i++, bytes += size) {
        const uint64_t raw = load(bytes, size);
        if (header->bits == 64) {
            memcpy(&samples[i], &raw, sizeof samples[i]);
        } else if (header->is_float) {
            const uint32_t half = (uint32_t)raw;
            float sample;
            memcpy(&sample, &half, sizeof sample);
            samples[i] = (double)sample;
        } else if (header->bits == 8) { /* These alone have no sign. */
            samples[i] = ((double)raw - 128) / 128;
        } else { /* To the upper end, where the sign is. */
            samples[i] = (double)(int32_t)((uint32_t)raw << (32 - header->bits)) / 0x1p31;
        }
    }
}

void wav_encode(const wav *header, const double *samples, unsigned char *bytes, size_t count)
{
    const unsigned size = header->bits / 8;
    const double scale = ldexp(1, (int)header->bits - 1);

    for (size_t i = 0; i < count; i++, bytes += size) {
        uint64_t raw;
        if (header->bits == 64) {
            memcpy(&raw, &samples[i], sizeof raw);
        } else if (header->is_float) {
            const float sample = (float)samples[i];
            uint32_t half;
            memcpy(&half, &sample, sizeof half);
            raw = half;
        } else {
            const double level = fmin(fmax(rint(samples[i] * scale), -scale), scale - 1);
            raw = (uint64_t)(int64_t)level + (header->bits == 8 ? 128 : 0);
        }
        store(bytes, size, raw);
    }
}
