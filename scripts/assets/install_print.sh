#!/usr/bin/env bash
# Install what the bundled model learned its letters from: faces of type and PDF manuals of Debian's packages.
#
#   scripts/assets/install_print.sh runs/pdfs      # as root; puts the manuals, unpacked, into runs/pdfs
#
# Families that are kept for the test are installed too; llava/pages/faces.py leaves them out of training.
set -euo pipefail
case "${1:-}" in
"" | -h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
    [ -n "${1:-}" ] && exit 0
    exit 2
    ;;
esac
out=$1
FACES="
    fonts-liberation fonts-liberation2 fonts-dejavu fonts-dejavu-extra fonts-roboto-unhinted fonts-roboto-slab
    fonts-open-sans fonts-crosextra-carlito fonts-crosextra-caladea fonts-croscore fonts-inter fonts-lato fonts-noto-core
    fonts-noto-mono fonts-vollkorn fonts-comic-neue fonts-sil-gentium fonts-sil-gentiumplus fonts-freefont-ttf
    fonts-texgyre fonts-lmodern fonts-cmu fonts-urw-base35 fonts-linuxlibertine fonts-ebgaramond fonts-cantarell
    fonts-hack fonts-firacode fonts-jetbrains-mono fonts-inconsolata fonts-anonymous-pro fonts-courier-prime fonts-cabin
    fonts-dosis fonts-quicksand fonts-quattrocento fonts-play fonts-oxygen fonts-paratype fonts-junicode fonts-cardo
    fonts-clear-sans fonts-b612 fonts-go fonts-karla fonts-karmilla fonts-sora fonts-sil-charis fonts-sil-doulos
    fonts-sil-andika fonts-stix fonts-oldstandard fonts-goudybookletter fonts-junction fonts-jura fonts-adf-accanthis
    fonts-adf-baskervald fonts-adf-berenis fonts-adf-gillius fonts-adf-ikarius fonts-adf-irianis fonts-adf-libris
    fonts-adf-mekanus fonts-adf-oldania fonts-adf-romande fonts-adf-solothurn fonts-adf-switzera fonts-adf-tribun
    fonts-adf-universalis fonts-adf-verana fonts-averia-gwf fonts-averia-sans-gwf fonts-averia-serif-gwf fonts-arkpandora
    fonts-arapey fonts-allerta fonts-century-catalogue fonts-essays1743 fonts-fanwood fonts-gfs-artemisia fonts-gfs-didot
    fonts-gfs-neohellenic fonts-league-mono fonts-league-spartan fonts-lindenhill fonts-opendyslexic fonts-osifont
    fonts-prociono fonts-tuffy fonts-yrsa-rasa fonts-thai-tlwg-ttf fonts-ocr-b fonts-routed-gothic fonts-tiresias
    fonts-mplus fonts-fantasque-sans fonts-hermit fonts-monoid fonts-mononoki fonts-agave fonts-comfortaa fonts-beteckna
    fonts-humor-sans fonts-elstob fonts-dustin fonts-georgewilliams fonts-yanone-kaffeesatz fonts-bebas-neue fonts-lyx
    fonts-linex fonts-sjfonts fonts-isabella fonts-sil-galatia"
MANUALS="
    r-doc-pdf gnuplot-doc octave-doc bash-doc developers-reference libfftw3-doc gretl-doc pari-doc gap-doc
    libcfitsio-doc gmsh-doc abinit-doc fp-docs-3.2.2 sbcl-doc maxima-doc graphviz-doc debian-policy maint-guide valgrind"
# Package lists are words, and are meant to be split.
# shellcheck disable=SC2086
apt-get install -y --no-install-recommends $FACES $MANUALS
mkdir -p "$out"
find /usr/share -name '*.pdf' -size +20k -exec cp -n {} "$out" \;
find /usr/share -name '*.pdf.gz' -size +20k | while read -r file; do
    name=$(basename "$file" .gz)
    [ -e "$out/$name" ] || gunzip -c "$file" >"$out/$name"
done
echo "$(find "$out" -name '*.pdf' | wc -l) manuals in $out"
