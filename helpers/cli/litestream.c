/* litestream: the program. Its commands are in commands.c. */
#include "cli/command.h"

int main(int argc, char **argv)
{
	return command_main(litestream_commands, "litestream", argc, argv);
}
