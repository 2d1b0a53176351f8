"""From run directories to the tables and figures of Tarvainen & Valpola (2017)."""
