#include "conf/tree.h"

#include "base/array.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define ANCHORS_MAX 200

/* ---- memory ---- */

struct tree_memory {
	struct tree_memory *next;
	size_t size;
	max_align_t data[];
};

void *tree_alloc(struct tree_memory **m, size_t n)
{
	struct tree_memory *piece = calloc(1, sizeof(*piece) + n);
	if (!piece)
		return NULL;
	piece->size = n;
	piece->next = *m;
	*m = piece;
	return piece->data;
}

char *tree_strdup(struct tree_memory **m, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = tree_alloc(m, n);
	return copy ? memcpy(copy, text, n) : NULL;
}

void tree_memory_free(struct tree_memory **m)
{
	while (*m) {
		struct tree_memory *piece = *m;
		*m = piece->next;
		explicit_bzero(piece->data, piece->size);
		free(piece);
	}
}

void tree_free(struct tree *t)
{
	tree_memory_free(&t->memory);
	t->root = NULL;
}

/* ---- reading ---- */

struct anchor {
	const char *name;
	struct tree_node *node;
};

struct reader {
	yaml_parser_t parser;
	struct tree *tree;
	const char *name; /* of the text */
	size_t nodes;
	struct anchor anchors[ANCHORS_MAX];
	size_t n_anchors;
	struct err *e;
};

/* Items or pairs that come one by one, until their number is known. */
struct pile {
	void *first;
	size_t count, cap;
};

static int nomem(struct reader *r)
{
	return err_nomem(r->e, "reading a configuration");
}

static int bad(struct reader *r, size_t line, const char *what)
{
	return err_set(r->e, ERR_USAGE, "%s:%zu: %s", r->name, line, what);
}

static size_t line_of(const yaml_event_t *ev)
{
	return ev->start_mark.line + 1;
}

/* libyaml's words are fixed sentences: nothing of the text is in them. */
static int next_event(struct reader *r, yaml_event_t *ev)
{
	if (yaml_parser_parse(&r->parser, ev))
		return ERR_OK;
	yaml_parser_t *p = &r->parser;
	memset(ev, 0, sizeof(*ev));
	if (p->error == YAML_MEMORY_ERROR)
		return nomem(r);
	size_t line = p->error == YAML_READER_ERROR ? p->mark.line + 1 : p->problem_mark.line + 1;
	return err_set(r->e, ERR_USAGE, "%s:%zu: this is no YAML: %s%s%s", r->name, line,
		p->context ? p->context : "", p->context ? ", " : "",
		p->problem ? p->problem : "it can't be read");
}

static int new_node(
	struct reader *r, const yaml_event_t *ev, enum tree_kind kind, struct tree_node **out)
{
	if (++r->nodes > TREE_NODES_MAX)
		return bad(r, line_of(ev), "there is too much in it");
	struct tree_node *node = tree_alloc(&r->tree->memory, sizeof(*node));
	if (!node)
		return nomem(r);
	node->kind = kind;
	node->line = (unsigned)line_of(ev);
	node->weight = 1;
	*out = node;
	return ERR_OK;
}

/* "tag:yaml.org,2002:str" and its like say what everything here is anyway. */
static int check_tag(struct reader *r, const yaml_event_t *ev, const yaml_char_t *tag)
{
	static const char *const known[] = {"!", YAML_STR_TAG, YAML_INT_TAG, YAML_BOOL_TAG,
		YAML_FLOAT_TAG, YAML_NULL_TAG, YAML_MAP_TAG, YAML_SEQ_TAG};
	for (size_t i = 0; tag && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp((const char *)tag, known[i]) == 0)
			tag = NULL;
	return tag ? bad(r, line_of(ev), "tags (\"!name\") are not understood") : ERR_OK;
}

/* Only whole nodes have their anchor's name, so that none can hold itself. */
static int keep_anchor(struct reader *r, size_t line, const char *name, struct tree_node *node)
{
	size_t i = 0;
	while (i < r->n_anchors && strcmp(r->anchors[i].name, name) != 0)
		i++; /* a name that comes again is another node from there on */
	if (i == ANCHORS_MAX)
		return bad(r, line, "there are too many anchors");
	r->anchors[i] = (struct anchor){name, node};
	r->n_anchors += i == r->n_anchors;
	return ERR_OK;
}

static int find_anchor(struct reader *r, const yaml_event_t *ev, struct tree_node **out)
{
	for (size_t i = 0; i < r->n_anchors; i++) {
		if (strcmp(r->anchors[i].name, (const char *)ev->data.alias.anchor) == 0) {
			*out = r->anchors[i].node;
			return ERR_OK;
		}
	}
	return bad(r, line_of(ev), "an alias (\"*name\") has no anchor (\"&name\") before it");
}

static int add_weight(struct reader *r, struct tree_node *to, const struct tree_node *part)
{
	to->weight += part->weight;
	return to->weight > TREE_NODES_MAX
			   ? bad(r, to->line, "with its aliases there is too much in it")
			   : ERR_OK;
}

static int read_scalar(struct reader *r, const yaml_event_t *ev, struct tree_node **out)
{
	const char *text = (const char *)ev->data.scalar.value;
	int rc = check_tag(r, ev, ev->data.scalar.tag);
	if (!rc && strlen(text) != ev->data.scalar.length)
		rc = bad(r, line_of(ev), "there is a NUL byte in it");
	if (!rc)
		rc = new_node(r, ev, TREE_SCALAR, out);
	if (rc)
		return rc;
	(*out)->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	(*out)->text = tree_strdup(&r->tree->memory, text);
	return (*out)->text ? ERR_OK : nomem(r);
}

static int read_node(
	struct reader *r, const yaml_event_t *ev, unsigned depth, struct tree_node **out);

static int pile_add(struct reader *r, struct pile *p, const void *item, size_t size)
{
	void *more = array_append(p->first, &p->count, &p->cap, size, item);
	if (!more)
		return nomem(r);
	p->first = more;
	return ERR_OK;
}

/* What was piled up becomes the tree's. */
static void *pile_take(struct reader *r, const struct pile *p, size_t size)
{
	void *list = tree_alloc(&r->tree->memory, p->count * size);
	return list && p->count ? memcpy(list, p->first, p->count * size) : list;
}

static int read_items(struct reader *r, struct tree_node *list, unsigned depth, struct pile *items)
{
	for (;;) {
		yaml_event_t ev;
		int rc = next_event(r, &ev);
		bool end = !rc && ev.type == YAML_SEQUENCE_END_EVENT;
		struct tree_node *item = NULL;
		if (!rc && !end)
			rc = read_node(r, &ev, depth + 1, &item);
		yaml_event_delete(&ev);
		if (!rc && !end)
			rc = add_weight(r, list, item);
		if (!rc && !end)
			rc = pile_add(r, items, &item, sizeof(struct tree_node *));
		if (rc || end)
			return rc;
	}
}

static int read_list(
	struct reader *r, const yaml_event_t *ev, unsigned depth, struct tree_node **out)
{
	struct pile items = {0};
	int rc = check_tag(r, ev, ev->data.sequence_start.tag);
	if (!rc)
		rc = new_node(r, ev, TREE_LIST, out);
	if (!rc)
		rc = read_items(r, *out, depth, &items);
	if (!rc) {
		(*out)->count = items.count;
		(*out)->items = pile_take(r, &items, sizeof(*(*out)->items));
		rc = (*out)->items ? ERR_OK : nomem(r);
	}
	free(items.first);
	return rc;
}

static const struct tree_pair *find_pair(const struct pile *pairs, const char *key)
{
	const struct tree_pair *list = pairs->first;
	for (size_t i = 0; i < pairs->count; i++)
		if (strcmp(list[i].key, key) == 0)
			return &list[i];
	return NULL;
}

static int add_pair(struct reader *r, struct pile *pairs, const struct tree_pair *pair)
{
	if (pairs->count == TREE_KEYS_MAX)
		return bad(r, pair->line, "there are too many keys in one map");
	return pile_add(r, pairs, pair, sizeof(*pair));
}

/* "<<: *other": what the map has not itself. Of several the first one that has a key counts. */
static int merge_one(
	struct reader *r, struct tree_node *map, struct pile *pairs, const struct tree_node *from)
{
	if (from->kind != TREE_MAP)
		return bad(r, from->line, "\"<<\" takes a map, or a list of maps");
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < from->count; i++) {
		if (find_pair(pairs, from->pairs[i].key))
			continue;
		rc = add_pair(r, pairs, &from->pairs[i]);
		if (!rc)
			rc = add_weight(r, map, from->pairs[i].value);
	}
	return rc;
}

static int merge(
	struct reader *r, struct tree_node *map, struct pile *pairs, const struct tree_node *from)
{
	if (from->kind != TREE_LIST)
		return merge_one(r, map, pairs, from);
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < from->count; i++)
		rc = merge_one(r, map, pairs, from->items[i]);
	return rc;
}

static int read_key(struct reader *r, const yaml_event_t *ev, struct tree_pair *pair, bool *merges)
{
	pair->line = (unsigned)line_of(ev);
	if (ev->type != YAML_SCALAR_EVENT)
		return bad(r, pair->line, "a key has to be a word");
	const char *text = (const char *)ev->data.scalar.value;
	if (strlen(text) != ev->data.scalar.length || strlen(text) > TREE_KEY_LEN_MAX)
		return bad(r, pair->line, "a key is too long to be one");
	*merges = strcmp(text, "<<") == 0 && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	pair->key = tree_strdup(&r->tree->memory, text);
	return pair->key ? ERR_OK : nomem(r);
}

/* The value that follows a key. */
static int read_value(struct reader *r, unsigned depth, struct tree_node **out)
{
	yaml_event_t ev;
	int rc = next_event(r, &ev);
	if (!rc)
		rc = read_node(r, &ev, depth + 1, out);
	yaml_event_delete(&ev);
	return rc;
}

static int read_pairs(struct reader *r, struct tree_node *map, unsigned depth, struct pile *pairs)
{
	const struct tree_node *merged = NULL;
	for (;;) {
		yaml_event_t ev;
		struct tree_pair pair = {0};
		bool merges = false;
		int rc = next_event(r, &ev);
		bool end = !rc && ev.type == YAML_MAPPING_END_EVENT;
		if (!rc && !end)
			rc = read_key(r, &ev, &pair, &merges);
		yaml_event_delete(&ev);
		if (end)
			break;
		if (!rc)
			rc = read_value(r, depth, &pair.value);
		if (!rc && (merges ? merged != NULL : find_pair(pairs, pair.key) != NULL))
			rc = err_set(r->e, ERR_USAGE, "%s:%u: the key \"%s\" is there twice", r->name,
				pair.line, pair.key);
		if (!rc && merges)
			merged = pair.value;
		else if (!rc && !(rc = add_weight(r, map, pair.value)))
			rc = add_pair(r, pairs, &pair);
		if (rc)
			return rc;
	}
	return merged ? merge(r, map, pairs, merged) : ERR_OK;
}

static int read_map(
	struct reader *r, const yaml_event_t *ev, unsigned depth, struct tree_node **out)
{
	struct pile pairs = {0};
	int rc = check_tag(r, ev, ev->data.mapping_start.tag);
	if (!rc)
		rc = new_node(r, ev, TREE_MAP, out);
	if (!rc)
		rc = read_pairs(r, *out, depth, &pairs);
	if (!rc) {
		(*out)->count = pairs.count;
		(*out)->pairs = pile_take(r, &pairs, sizeof(*(*out)->pairs));
		rc = (*out)->pairs ? ERR_OK : nomem(r);
	}
	free(pairs.first);
	return rc;
}

static int read_node(
	struct reader *r, const yaml_event_t *ev, unsigned depth, struct tree_node **out)
{
	const yaml_char_t *anchor = NULL;
	int rc = depth > TREE_DEPTH_MAX ? bad(r, line_of(ev), "it goes too deep") : ERR_OK;
	if (rc)
		return rc;
	switch (ev->type) {
	case YAML_ALIAS_EVENT:
		return find_anchor(r, ev, out);
	case YAML_SCALAR_EVENT:
		anchor = ev->data.scalar.anchor;
		rc = read_scalar(r, ev, out);
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = ev->data.sequence_start.anchor;
		rc = read_list(r, ev, depth, out);
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = ev->data.mapping_start.anchor;
		rc = read_map(r, ev, depth, out);
		break;
	default:
		return bad(r, line_of(ev), "a value was expected");
	}
	if (rc || !anchor)
		return rc;
	const char *name = tree_strdup(&r->tree->memory, (const char *)anchor);
	return name ? keep_anchor(r, line_of(ev), name, *out) : nomem(r);
}

/* Beginning and end of stream and documents around one node. */
static int read_document(struct reader *r)
{
	bool there = false;
	for (;;) {
		yaml_event_t ev;
		int rc = next_event(r, &ev);
		yaml_event_type_t type = ev.type;
		if (!rc && type == YAML_DOCUMENT_START_EVENT) {
			if (there)
				rc = bad(r, line_of(&ev), "a second document begins: there can be only one");
			there = true;
		} else if (!rc && type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_END_EVENT &&
				   type != YAML_STREAM_END_EVENT) {
			rc = read_node(r, &ev, 1, &r->tree->root);
		}
		yaml_event_delete(&ev);
		if (rc || type == YAML_STREAM_END_EVENT)
			return rc;
	}
}

int tree_read(struct tree *out, const char *name, const char *text, size_t n, struct err *e)
{
	*out = (struct tree){0};
	if (n > TREE_TEXT_MAX)
		return err_set(e, ERR_USAGE, "%s is larger than %zu bytes", name, TREE_TEXT_MAX);
	struct reader *r = calloc(1, sizeof(*r));
	if (!r || !yaml_parser_initialize(&r->parser)) {
		free(r);
		return err_nomem(e, "reading a configuration");
	}
	r->tree = out;
	r->name = name;
	r->e = e;
	yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, n);
	int rc = read_document(r);
	yaml_parser_delete(&r->parser);
	free(r);
	return rc;
}

bool tree_is_null(const struct tree_node *node)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};
	if (node->kind != TREE_SCALAR)
		return false;
	if (!node->plain)
		return node->text[0] == '\0';
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(node->text, words[i]) == 0)
			return true;
	return false;
}

const struct tree_node *tree_get(const struct tree_node *map, const char *key)
{
	for (size_t i = 0; map && map->kind == TREE_MAP && i < map->count; i++)
		if (strcmp(map->pairs[i].key, key) == 0)
			return map->pairs[i].value;
	return NULL;
}
