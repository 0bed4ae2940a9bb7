"""Where blocks are computed. An engine takes a plan and the missing cells, and hands back what is finished."""
