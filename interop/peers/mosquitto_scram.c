/* A plugin for mosquitto 2 that lets one user in by SCRAM-SHA-256, for the tests: not the code that is tested.
 *
 * Options: plugin_opt_user, plugin_opt_password, plugin_opt_iterations, and plugin_opt_lie 1 for a server that does not
 * know the password. What a client says is taken apart no further than the tests need.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#define TEXT_MAX 1024
#define KEY 32
#define EXCHANGES_MAX 64

static const char *user = "", *password = "";
static int iterations = 4096, lies = 0;
static const unsigned char SALT[16] = "salt of the test";

/* One exchange for each client that has been challenged. */
static struct exchange {
    struct mosquitto *client;
    char nonce[TEXT_MAX];
    char said[5 * TEXT_MAX];
} exchanges[EXCHANGES_MAX];

static struct exchange *exchange_of(struct mosquitto *client) {
    for (int i = 0; i < EXCHANGES_MAX; i++)
        if (exchanges[i].client == client) return &exchanges[i];
    return NULL;
}

static void sign(const unsigned char *key, const char *text, unsigned char *out) {
    unsigned int length = KEY;
    HMAC(EVP_sha256(), key, KEY, (const unsigned char *)text, strlen(text), out, &length);
}

static int answer(struct mosquitto_evt_extended_auth *event, const char *text) {
    size_t length = strlen(text);
    event->data_out = mosquitto_calloc(1, length + 1);
    if (!event->data_out) return MOSQ_ERR_NOMEM;
    memcpy(event->data_out, text, length);
    event->data_out_len = (uint16_t)length;
    return MOSQ_ERR_SUCCESS;
}

static int on_start(int id, void *data, void *unused) {
    struct mosquitto_evt_extended_auth *event = data;
    char first[TEXT_MAX] = {0}, name[TEXT_MAX], nonce[TEXT_MAX / 2], salt[32], challenge[TEXT_MAX * 2];
    unsigned char random[12];
    (void)id;
    (void)unused;
    if (!event->auth_method || strcmp(event->auth_method, "SCRAM-SHA-256")) return MOSQ_ERR_NOT_SUPPORTED;
    if (event->data_in_len >= TEXT_MAX) return MOSQ_ERR_AUTH;
    memcpy(first, event->data_in, event->data_in_len);
    if (sscanf(first, "n,,n=%[^,],r=%511[^,]", name, nonce) != 2 || strcmp(name, user)) return MOSQ_ERR_AUTH;
    struct exchange *mine = exchange_of(event->client);
    if (!mine) mine = exchange_of(NULL);
    if (!mine || RAND_bytes(random, sizeof random) != 1) return MOSQ_ERR_NOMEM;
    mine->client = event->client;
    strcpy(mine->nonce, nonce);
    EVP_EncodeBlock((unsigned char *)mine->nonce + strlen(nonce), random, sizeof random);
    EVP_EncodeBlock((unsigned char *)salt, SALT, sizeof SALT);
    snprintf(challenge, sizeof challenge, "r=%s,s=%s,i=%d", mine->nonce, salt, iterations);
    snprintf(mine->said, sizeof mine->said, "%s,%s,c=biws,r=%s", first + 3, challenge, mine->nonce);
    int made = answer(event, challenge);
    return made ? made : MOSQ_ERR_AUTH_CONTINUE;
}

static int on_continue(int id, void *data, void *unused) {
    struct mosquitto_evt_extended_auth *event = data;
    char last[TEXT_MAX] = {0}, bare[TEXT_MAX + 32], last_line[64] = "v=";
    unsigned char salted[KEY], client_key[KEY], stored[KEY], server_key[KEY], signature[KEY], proof[KEY + 16];
    (void)id;
    (void)unused;
    struct exchange *mine = exchange_of(event->client);
    if (!mine || event->data_in_len >= TEXT_MAX) return MOSQ_ERR_AUTH;
    mine->client = NULL;
    memcpy(last, event->data_in, event->data_in_len);
    snprintf(bare, sizeof bare, "c=biws,r=%s,p=", mine->nonce);
    if (strncmp(last, bare, strlen(bare)) || strlen(last) != strlen(bare) + 44) return MOSQ_ERR_AUTH;
    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), SALT, sizeof SALT, iterations, EVP_sha256(), KEY, salted);
    sign(salted, "Client Key", client_key);
    SHA256(client_key, KEY, stored);
    sign(stored, mine->said, signature);
    if (EVP_DecodeBlock(proof, (unsigned char *)last + strlen(bare), 44) < KEY) return MOSQ_ERR_AUTH;
    for (int i = 0; i < KEY; i++)
        if ((proof[i] ^ signature[i]) != client_key[i]) return MOSQ_ERR_AUTH;
    sign(salted, lies ? "Another Key" : "Server Key", server_key);
    sign(server_key, mine->said, signature);
    EVP_EncodeBlock((unsigned char *)last_line + 2, signature, KEY);
    mosquitto_set_username(event->client, user);
    return answer(event, last_line);
}

int mosquitto_plugin_version(int count, const int *versions) {
    for (int i = 0; i < count; i++)
        if (versions[i] == 5) return 5;
    return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **data, struct mosquitto_opt *options, int count) {
    (void)data;
    for (int i = 0; i < count; i++) {
        if (!strcmp(options[i].key, "user")) user = strdup(options[i].value);
        if (!strcmp(options[i].key, "password")) password = strdup(options[i].value);
        if (!strcmp(options[i].key, "iterations")) iterations = atoi(options[i].value);
        if (!strcmp(options[i].key, "lie")) lies = atoi(options[i].value);
    }
    int made = mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_START, on_start, NULL, NULL);
    return made ? made : mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_CONTINUE, on_continue, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *data, struct mosquitto_opt *options, int count) {
    (void)data;
    (void)options;
    (void)count;
    return 0;
}
